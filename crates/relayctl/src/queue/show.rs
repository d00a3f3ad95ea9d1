//! `queue show`: prints what the daemon knows about one message, or its content.

use std::io::{self, IsTerminal, Write};

use clap::Args;
use relay_control::{Detail, path};
use relay_terminal::escape_json;

use super::content::{Form, Printer, Splitter};
use super::print::print_detail;
use crate::client::{Client, Octets};
use crate::error::RelayctlError;
use crate::output::print_answer;

#[derive(Debug, Args)]
pub(crate) struct ShowArgs {
    /// The message id, as in the 250 reply, the Received header and the log
    id: String,

    /// Print the header section instead, as it will be sent
    #[arg(long)]
    headers: bool,

    /// Print the body instead; with --headers, the whole message
    #[arg(long)]
    body: bool,
}

pub(super) async fn run(
    args: &ShowArgs,
    client: &Client,
    json: bool,
    out: &mut impl Write,
) -> Result<(), RelayctlError> {
    let path = message(&args.id)?;
    if !args.headers && !args.body {
        let detail: Detail = client.get(&path).await?;
        return if json {
            print_answer(out, &detail)
        } else {
            print_detail(out, &detail)
        };
    }
    if json {
        let detail: Detail = client.get(&path).await?;
        let octets = octets(client, &path).await?;
        return print_json(&detail, octets, args, out).await;
    }
    let form = if io::stdout().is_terminal() {
        Form::Screen
    } else {
        Form::Octets
    };
    print(octets(client, &path).await?, args, form, out).await
}

async fn octets(client: &Client, path: &str) -> Result<Octets, RelayctlError> {
    client.octets(&format!("{path}/{}", path::CONTENT)).await
}

/// Returns the path of one message in the control API.
fn message(id: &str) -> Result<String, RelayctlError> {
    // No other text could be part of a path.
    if !id.is_empty() && id.bytes().all(|b| b.is_ascii_alphanumeric()) {
        Ok(format!("{}/{id}", path::QUEUE))
    } else {
        Err(RelayctlError::Refused(format!(
            "no message {id:?}: an id has 13 letters and digits, such as 06Q3ZV9WQ0K4D"
        )))
    }
}

/// Prints the content as it arrives, so that a long message is never held in memory.
async fn print(
    mut octets: Octets,
    args: &ShowArgs,
    form: Form,
    out: &mut impl Write,
) -> Result<(), RelayctlError> {
    let mut splitter = Splitter::default();
    let mut printer = Printer::new(form);
    while let Some(piece) = octets.next().await? {
        let (headers, body) = splitter.split(&piece);
        if args.headers {
            printer.print(headers, out).map_err(RelayctlError::Output)?;
        }
        if args.body {
            printer.print(body, out).map_err(RelayctlError::Output)?;
        } else if splitter.is_in_body() {
            break;
        }
    }
    printer.end(out).map_err(RelayctlError::Output)
}

/// Prints the message as JSON, with the requested content in additional fields.
async fn print_json(
    detail: &Detail,
    mut octets: Octets,
    args: &ShowArgs,
    out: &mut impl Write,
) -> Result<(), RelayctlError> {
    let known = serde_json::to_string(detail).map_err(RelayctlError::answer)?;
    let known = escape_json(known.strip_suffix('}').unwrap_or(&known)).into_owned();
    write!(out, "{known}").map_err(RelayctlError::Output)?;
    let mut splitter = Splitter::default();
    let mut fields = Fields::new(out);
    if args.headers {
        fields.begin("headers").map_err(RelayctlError::Output)?;
    }
    while let Some(piece) = octets.next().await? {
        let (headers, body) = splitter.split(&piece);
        if args.headers {
            fields.print(headers).map_err(RelayctlError::Output)?;
        }
        if splitter.is_in_body() {
            if !args.body {
                break;
            }
            fields.begin("body").map_err(RelayctlError::Output)?;
            fields.print(body).map_err(RelayctlError::Output)?;
        }
    }
    if args.body {
        fields.begin("body").map_err(RelayctlError::Output)?;
    }
    fields.end().map_err(RelayctlError::Output)?;
    writeln!(out, "}}").map_err(RelayctlError::Output)
}

/// Additional string fields of an object. They are printed in pieces.
struct Fields<'a, W> {
    out: &'a mut W,
    printer: Printer,
    name: Option<&'static str>,
}

impl<'a, W: Write> Fields<'a, W> {
    fn new(out: &'a mut W) -> Self {
        Self {
            out,
            printer: Printer::new(Form::Json),
            name: None,
        }
    }

    /// Begins this field, and ends the previous one. It does nothing if this is the current field.
    fn begin(&mut self, name: &'static str) -> io::Result<()> {
        if self.name == Some(name) {
            return Ok(());
        }
        self.end()?;
        self.name = Some(name);
        write!(self.out, ",\"{name}\":\"")
    }

    fn print(&mut self, octets: &[u8]) -> io::Result<()> {
        self.printer.print(octets, self.out)
    }

    fn end(&mut self) -> io::Result<()> {
        if self.name.take().is_none() {
            return Ok(());
        }
        self.printer.end(self.out)?;
        write!(self.out, "\"")
    }
}
