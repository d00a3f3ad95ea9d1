//! `-bs`: connects standard input and output to an SMTP session of the relay.

use std::io::{self, Write as _};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::ExitCode;
use std::thread;

use crate::error::{RelayError, SendmailError};

/// Copies octets in both directions until the relay has closed the connection.
pub(crate) fn run(socket: &Path) -> Result<ExitCode, SendmailError> {
    let connected = UnixStream::connect(socket).and_then(|stream| {
        let reader = stream.try_clone()?;
        Ok((stream, reader))
    });
    let (mut stream, mut reader) = match connected {
        Ok(both) => both,
        Err(reason) => {
            let written =
                io::stdout().write_all(b"421 4.3.2 the relay is not running, try again later\r\n");
            written.map_err(SendmailError::Output)?;
            let socket = socket.to_owned();
            return Err(SendmailError::NoRelay(RelayError::NoAnswer {
                socket,
                reason,
            }));
        }
    };
    // This thread may still wait for input when the relay has finished. It ends with the program.
    thread::spawn(move || {
        let _ = io::copy(&mut io::stdin().lock(), &mut stream);
        let _ = stream.shutdown(Shutdown::Write);
    });
    let mut out = io::stdout();
    copy(&mut reader, &mut out).map_err(SendmailError::Output)?;
    Ok(ExitCode::SUCCESS)
}

/// Copies each piece at once, because the reader may be waiting for it.
fn copy(reader: &mut impl io::Read, out: &mut impl io::Write) -> io::Result<()> {
    let mut piece = [0; 4096];
    loop {
        let length = match reader.read(&mut piece) {
            Ok(0) => return Ok(()),
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            // A lost connection is treated like a closed one.
            Err(_) => return Ok(()),
        };
        out.write_all(&piece[..length])?;
        out.flush()?;
    }
}
