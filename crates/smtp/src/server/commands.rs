//! Handles each command in each state.

use crate::address::{Mailbox, ReversePath};
use crate::command::{ClientName, Command, CommandError, MailParams};
use crate::dsn::Orcpt;
use crate::recipient::Recipient;
use crate::reply::Reply;

use super::event::{Hello, MailRequest, Refusal, ServerEvent};
use super::line::LineError;
use super::replies::{self, Security};
use super::session::{ServerSession, ServerState};
use super::settings::{Channel, Settings};

impl ServerSession {
    pub(super) fn handle_command(&mut self, command: Command) -> Option<ServerEvent> {
        let reply = match command {
            Command::Ehlo(name) => self.handle_hello(name, true),
            Command::Helo(name) => self.handle_hello(name, false),
            Command::Mail { path, params } => return Some(self.handle_mail(path, params)),
            Command::Rcpt { path, params } => {
                return Some(self.handle_rcpt(Recipient {
                    path,
                    notify: params.notify,
                    orcpt: params.orcpt,
                }));
            }
            Command::Data => return Some(self.handle_data()),
            Command::Rset => {
                if let Some(hello) = self.end_transaction() {
                    self.state = ServerState::Ready(hello);
                }
                replies::ok()
            }
            Command::Noop => replies::ok(),
            Command::Vrfy(..) | Command::Expn(..) => replies::verify(),
            Command::Help => replies::help(),
            Command::Quit => {
                self.state = ServerState::Closed;
                replies::goodbye()
            }
            Command::StartTls => return Some(self.handle_start_tls()),
            Command::Auth { mechanism, initial } => {
                return self.handle_auth(mechanism, initial.as_ref());
            }
        };
        self.reply(&reply);
        None
    }

    pub(super) fn handle_line_error(&mut self, error: LineError) -> ServerEvent {
        match error {
            LineError::TooLong => self.protocol_error("overlong line", replies::line_too_long()),
            LineError::AuthTooLong => self.protocol_error("AUTH", replies::auth_line_too_long()),
            LineError::BareNewline => {
                self.protocol_error("bare newline", replies::bare_newline_in_command())
            }
        }
    }

    pub(super) fn handle_command_error(
        &mut self,
        error: CommandError,
        argument: Option<Box<str>>,
    ) -> ServerEvent {
        let event = match error {
            CommandError::Unknown => {
                self.protocol_error("unknown command", replies::unknown_command())
            }
            CommandError::Syntax(verb) | CommandError::BadParameter(verb) => {
                self.protocol_error(verb, replies::syntax())
            }
            CommandError::UnknownParameter(verb) => {
                self.protocol_error(verb, replies::unknown_parameter())
            }
        };
        match event {
            ServerEvent::Refused(refusal) => ServerEvent::Refused(Refusal {
                argument,
                ..refusal
            }),
            other => other,
        }
    }

    fn handle_hello(&mut self, name: ClientName, extended: bool) -> Reply {
        self.state = ServerState::Ready(Hello { name, extended });
        let Settings {
            hostname,
            limits,
            starttls,
            auth,
            ..
        } = &self.settings;
        if extended {
            let security = match self.channel() {
                Channel::Clear => starttls.then_some(Security::StartTls),
                Channel::Tls => auth.then_some(Security::Auth),
            };
            replies::extended_hello(hostname, limits.message_size, security)
        } else {
            replies::hello(hostname)
        }
    }

    fn handle_start_tls(&mut self) -> ServerEvent {
        if self.channel() == Channel::Tls {
            return self.protocol_error("STARTTLS", replies::tls_already());
        }
        if !self.settings.starttls {
            return self.protocol_error("STARTTLS", replies::unimplemented());
        }
        self.reply(&replies::start_tls());
        self.state = ServerState::Handshake;
        ServerEvent::StartTls
    }

    fn handle_mail(&mut self, sender: ReversePath, params: MailParams) -> ServerEvent {
        match &self.state {
            ServerState::Ready(_) => {}
            ServerState::Transaction(..) => {
                return self.protocol_error("MAIL", replies::nested_mail());
            }
            _ => return self.protocol_error("MAIL", replies::want_hello()),
        }
        let needs_utf8 = sender.mailbox().is_some_and(Mailbox::needs_utf8);
        let refusal = if needs_utf8 && !params.utf8 {
            Some(replies::needs_smtputf8())
        } else if params.size > Some(self.settings.limits.message_size) {
            Some(replies::too_big())
        } else {
            None
        };
        match refusal {
            None => ServerEvent::Mail(MailRequest {
                sender,
                size: params.size,
                eight_bit: params.eight_bit,
                utf8: params.utf8,
                dsn: params.dsn,
            }),
            Some(reply) => self.refused("MAIL", Some(sender), None, reply),
        }
    }

    fn handle_rcpt(&mut self, recipient: Recipient) -> ServerEvent {
        let ServerState::Transaction(_, transaction) = &self.state else {
            return self.protocol_error("RCPT", replies::want_mail());
        };
        let needs_utf8 = recipient.path.mailbox().is_some_and(Mailbox::needs_utf8)
            || recipient.orcpt.as_ref().is_some_and(Orcpt::needs_utf8);
        let refusal = if transaction.recipients.len() >= self.settings.limits.recipients {
            Some(replies::too_many_recipients())
        } else if needs_utf8 && !transaction.utf8 {
            Some(replies::needs_smtputf8())
        } else {
            None
        };
        match refusal {
            None => ServerEvent::Rcpt(recipient),
            Some(reply) => {
                let sender = Some(transaction.sender.clone());
                self.refused("RCPT", sender, Some(recipient.path), reply)
            }
        }
    }

    fn handle_data(&mut self) -> ServerEvent {
        match &self.state {
            ServerState::Transaction(_, transaction) if transaction.recipients.is_empty() => {
                self.protocol_error("DATA", replies::want_recipient())
            }
            ServerState::Transaction(..) => ServerEvent::Data,
            _ => self.protocol_error("DATA", replies::want_mail()),
        }
    }
}
