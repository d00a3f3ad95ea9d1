//! Orders that stand until they are taken back: `suspend`, `resume`, and mail that is held as it comes
//! in.

use std::io::Write;

use relay_control::{Ordered, Orders, Scope, path};

use crate::client::Client;
use crate::failure::Failure;
use crate::{form, show};

/// What is ordered.
pub(crate) enum Order<'a> {
    Suspend(&'a str),
    Resume(&'a str),
    Hold(Scope),
    Release(Scope),
}

impl Order<'_> {
    fn name(&self) -> &'static str {
        match self {
            Self::Suspend(_) => "suspend",
            Self::Resume(_) => "resume",
            Self::Hold(_) => "hold",
            Self::Release(_) => "release",
        }
    }

    fn form(&self) -> String {
        match self {
            Self::Suspend(name) | Self::Resume(name) => {
                form::encode([("destination", (*name).to_owned())])
            }
            Self::Hold(scope) | Self::Release(scope) => form::encode(scope.pairs()),
        }
    }

    /// Why nothing was changed.
    fn refusal(&self) -> &'static str {
        match self {
            Self::Suspend(_) => "it is suspended already",
            Self::Resume(_) => "no destination of that name is suspended",
            Self::Hold(_) => "it is held already",
            Self::Release(_) => "there is no such rule",
        }
    }
}

/// The rule that these words make.
pub(crate) fn rule(scope: Scope) -> Result<Scope, Failure> {
    match &scope {
        Scope::Some(filter) if !filter.is_for_incoming() => Err(Failure::Usage(
            "mail that comes in is held by --domain and --sender alone, or --all of it".to_owned(),
        )),
        Scope::All | Scope::Some(_) => Ok(scope),
    }
}

pub(crate) async fn run(
    order: &Order<'_>,
    client: &Client,
    json: bool,
    out: &mut impl Write,
) -> Result<(), Failure> {
    let path = format!("{}/{}", path::ORDERS, order.name());
    let ordered: Ordered = client.order(&path, order.form()).await?;
    if json {
        show::json(out, &ordered)?;
    } else {
        show::orders(out, &ordered.orders)?;
    }
    if ordered.changed > 0 {
        return Ok(());
    }
    out.flush().map_err(Failure::Output)?;
    Err(Failure::Refused(format!(
        "nothing was changed: {}",
        order.refusal()
    )))
}

pub(crate) async fn list(client: &Client, json: bool, out: &mut impl Write) -> Result<(), Failure> {
    let orders: Orders = client.get(path::ORDERS).await?;
    if json {
        show::json(out, &orders)
    } else {
        show::orders(out, &orders)
    }
}
