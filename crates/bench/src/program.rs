//! Programs run to their end, within a time.

use anyhow::{Context, Result, bail};
use std::io::Read;
use std::process::{Command, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How often to look whether a program has ended.
const STEP: Duration = Duration::from_millis(1);

/// What a program printed, and how long it ran (to about a millisecond).
pub(crate) struct Finished {
    pub(crate) output: String,
    pub(crate) started: Instant,
    pub(crate) took: Duration,
}

/// Runs a program to its end.
///
/// # Errors
/// It cannot be started, fails (with what it printed), or takes longer than `limit` and is killed.
pub(crate) fn run(mut command: Command, limit: Duration) -> Result<Finished> {
    let shown = show(&command);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let started = Instant::now();
    let mut child = command.spawn().with_context(|| format!("starting {shown}"))?;
    let output = read(child.stdout.take());
    let errors = read(child.stderr.take());
    let status = loop {
        if let Some(status) = child.try_wait().with_context(|| format!("waiting for {shown}"))? {
            break status;
        }
        if started.elapsed() > limit {
            // It may end at this very moment by itself.
            let _ = child.kill();
            let _ = child.wait();
            bail!("{shown}: not through within {limit:?}");
        }
        std::thread::sleep(STEP);
    };
    let took = started.elapsed();
    let (output, errors) = (finish(output), finish(errors));
    if !status.success() {
        bail!("{shown}: {status}\n{}{}", output, errors.trim_end());
    }
    Ok(Finished { output, started, took })
}

fn show(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let words: Vec<_> = words.map(|word| word.to_string_lossy()).collect();
    words.join(" ")
}

/// Reads what a program says, in a thread of its own.
pub(crate) fn read<R: Read + Send + 'static>(stream: Option<R>) -> JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut stream) = stream {
            // What came before a failure is all there is to show.
            let _ = stream.read_to_end(&mut bytes);
        }
        bytes
    })
}

/// All that it said, once it has ended.
pub(crate) fn finish(reader: JoinHandle<Vec<u8>>) -> String {
    let bytes = reader.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::run;
    use std::process::Command;
    use std::time::Duration;

    fn shell(line: &str, limit: Duration) -> anyhow::Result<String> {
        let mut command = Command::new("sh");
        command.args(["-c", line]);
        run(command, limit).map(|finished| finished.output)
    }

    #[test]
    fn output_is_what_it_printed() {
        assert_eq!(shell("echo a; echo b >&2", Duration::from_secs(10)).unwrap(), "a\n");
    }

    #[test]
    fn failures_carry_both_streams() {
        let error = shell("echo a; echo b >&2; exit 3", Duration::from_secs(10)).unwrap_err();
        let text = format!("{error:#}");
        assert!(text.contains("exit status: 3") && text.ends_with("a\nb"), "{text}");
    }

    #[test]
    fn what_hangs_is_ended() {
        let error = shell("exec sleep 60", Duration::from_millis(50)).unwrap_err();
        assert!(format!("{error:#}").contains("not through within 50ms"), "{error:#}");
    }
}
