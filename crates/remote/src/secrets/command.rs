//! Programs that print a secret.

use std::io;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::AsyncReadExt;
use tokio::process::{Child, Command};
use tokio::time::timeout;
use zeroize::Zeroizing;

use super::{MAX_OUTPUT, SecretUnavailable};

/// Runs a program without a shell and returns its output if it succeeds in time. Its standard error
/// is discarded, because an error message may contain the secret.
pub(super) async fn run(
    argv: &[String],
    limit: Duration,
) -> Result<Zeroizing<Vec<u8>>, SecretUnavailable> {
    let Some((program, arguments)) = argv.split_first() else {
        return Ok(Zeroizing::default());
    };
    let child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .process_group(0)
        .kill_on_drop(true)
        .spawn();
    let group = Group(child.map_err(|e| start_failed(program, &e))?);
    match timeout(limit, group.output()).await {
        Ok(Ok((status, output))) if status.success() => Ok(output),
        Ok(Ok((status, _))) => Err(SecretUnavailable::Failed {
            program: program.clone(),
            status: status.to_string(),
        }),
        Ok(Err(e)) => Err(start_failed(program, &e)),
        Err(_) => Err(SecretUnavailable::TooSlow {
            program: program.clone(),
            after: limit,
        }),
    }
}

fn start_failed(program: &str, error: &io::Error) -> SecretUnavailable {
    SecretUnavailable::Start {
        program: program.to_owned(),
        kind: error.kind(),
    }
}

/// The program and all processes that it started. They are killed together.
struct Group(Child);

impl Group {
    async fn output(mut self) -> io::Result<(ExitStatus, Zeroizing<Vec<u8>>)> {
        let mut output = Zeroizing::new(Vec::new());
        if let Some(stdout) = self.0.stdout.take() {
            stdout.take(MAX_OUTPUT + 1).read_to_end(&mut output).await?;
        }
        // The pipe is closed by now, which ends a program that prints more.
        Ok((self.0.wait().await?, output))
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // A program without an id has ended, and its process id may belong to another process.
        let id = self.0.id().and_then(|id| i32::try_from(id).ok());
        if let Some(id) = id.and_then(Pid::from_raw) {
            let _ = kill_process_group(id, Signal::KILL);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secrets::first_line;

    const LONG: Duration = Duration::from_secs(10);

    fn argv(words: &[&str]) -> Vec<String> {
        words.iter().map(ToString::to_string).collect()
    }

    #[tokio::test]
    async fn arguments_are_passed_unchanged() {
        let output = run(&argv(&["printf", "%s|", "a b", "$HOME;'"]), LONG).await;
        assert_eq!(**output.expect("output"), *b"a b|$HOME;'|");
    }

    #[tokio::test]
    async fn the_error_for_a_failed_program_shows_only_its_status() {
        let failed = run(
            &argv(&["sh", "-c", "echo s3cret; echo s3cret >&2; exit 3"]),
            LONG,
        )
        .await;
        let text = failed.expect_err("a failure").to_string();
        assert_eq!(text, "sh ended with exit status: 3");
        let missing = run(&argv(&["/no/such/program"]), LONG).await;
        let text = missing.expect_err("a failure").to_string();
        assert_eq!(text, "cannot run /no/such/program: entity not found");
    }

    #[tokio::test]
    async fn endless_output_is_cut_off_and_rejected() {
        let output = tokio::time::timeout(LONG, run(&argv(&["yes"]), LONG)).await;
        // `yes` fails when the pipe is closed; other programs may ignore that.
        assert!(
            matches!(output, Ok(Err(SecretUnavailable::Failed { .. }))),
            "{output:?}"
        );
        let words = argv(&[
            "sh",
            "-c",
            "trap '' PIPE; yes 2>/dev/null | head -c 100000; exit 0",
        ]);
        let output = run(&words, LONG).await.expect("output");
        assert_eq!(output.len() as u64, MAX_OUTPUT + 1);
        assert!(first_line(&output).is_err());
    }

    #[tokio::test]
    async fn a_program_that_takes_too_long_is_killed_with_all_its_children() {
        let directory = tempfile::tempdir().expect("a directory");
        let fifo = directory.path().join("fifo");
        let script = format!(
            "mkfifo {0}; (echo up; exec sleep 60) > {0} & wait",
            fifo.display()
        );
        let begun = tokio::time::Instant::now();
        let words = argv(&["sh", "-c", &script]);
        let running = run(&words, Duration::from_millis(500));
        let reader = async {
            let mut text = Vec::new();
            let file = loop {
                match tokio::fs::File::open(&fifo).await {
                    Ok(file) => break file,
                    Err(_) => tokio::task::yield_now().await,
                }
            };
            // The read ends when no process has the pipe open.
            let read = tokio::io::BufReader::new(file).read_to_end(&mut text).await;
            read.map(|_| text)
        };
        let (ended, text) = tokio::join!(running, timeout(LONG, reader));
        assert!(
            matches!(ended, Err(SecretUnavailable::TooSlow { .. })),
            "{ended:?}"
        );
        assert_eq!(text.expect("no process in time").expect("read"), b"up\n");
        assert!(begun.elapsed() < LONG);
    }
}
