//! `-bs`: SMTP on standard input and output, spoken by the relay itself.

use std::io::{self, Write as _};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::ExitCode;
use std::thread;

use crate::failure::Failure;

/// Carries octets both ways until the relay has said its last word.
pub(crate) fn run(socket: &Path) -> Result<ExitCode, Failure> {
    let connected = UnixStream::connect(socket).and_then(|stream| {
        let reader = stream.try_clone()?;
        Ok((stream, reader))
    });
    let (mut stream, mut reader) = match connected {
        Ok(both) => both,
        Err(reason) => {
            let told =
                io::stdout().write_all(b"421 4.3.2 the relay does not run, try again later\r\n");
            told.map_err(Failure::Output)?;
            let socket = socket.display();
            return Err(Failure::NoRelay(format!(
                "no relay answers at {socket}: {reason}"
            )));
        }
    };
    // It may wait for input when the relay has ended; it goes with the program.
    thread::spawn(move || {
        let _ = io::copy(&mut io::stdin().lock(), &mut stream);
        let _ = stream.shutdown(Shutdown::Write);
    });
    let mut out = io::stdout();
    copy(&mut reader, &mut out).map_err(Failure::Output)?;
    Ok(ExitCode::SUCCESS)
}

/// Each piece at once: whoever reads waits for it.
fn copy(reader: &mut impl io::Read, out: &mut impl io::Write) -> io::Result<()> {
    let mut piece = [0; 4096];
    loop {
        let length = match reader.read(&mut piece) {
            Ok(0) => return Ok(()),
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            // A relay that has gone says no more than one that has ended.
            Err(_) => return Ok(()),
        };
        out.write_all(&piece[..length])?;
        out.flush()?;
    }
}
