//! A `calico` that has only `calico lab`: everything else of Calico's is a stand-in that does
//! nothing. `tests/lab.rs` uses it to test the lab by itself.

use clap::Parser;
use std::error::Error;
use std::ffi::OsString;
use std::io::Read;
use std::net::{TcpListener, TcpStream};
use std::process::ExitCode;

#[derive(Parser)]
#[command(name = "calico lab")]
struct Arguments {
    #[command(subcommand)]
    command: lab::Command,
}

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    if let Some(code) = lab::hidden(&arguments) {
        return code;
    }
    let words: Vec<String> =
        arguments.iter().map(|word| word.to_string_lossy().into_owned()).collect();
    let name = words[0].rsplit('/').next().unwrap_or_default().to_owned();
    let outcome = match (name.as_str(), words.get(1).map(String::as_str)) {
        ("calicoctl", _) => calicoctl(&words[1..]),
        ("calico-node", Some("-felix-ready")) => ready(),
        ("calico-node", _) => listen(&["127.0.0.1:9099".into()]),
        (_, Some("datastore")) => datastore(&words[2..]),
        _ => match lab::run(Arguments::parse().command) {
            Ok(code) => return code,
            Err(error) => {
                eprintln!("{error:#}");
                return ExitCode::FAILURE;
            }
        },
    };
    outcome.map_or_else(
        |error| {
            eprintln!("{name}: {error}");
            ExitCode::FAILURE
        },
        |()| ExitCode::SUCCESS,
    )
}

/// Keeps what is applied nowhere, and knows of nothing.
fn calicoctl(words: &[String]) -> Result<(), Box<dyn Error>> {
    match words.first().map(String::as_str) {
        Some("apply") => {
            let mut text = String::new();
            std::io::stdin().read_to_string(&mut text)?;
            if text.contains("Refused") {
                return Err("no kind of resource is called Refused".into());
            }
        }
        Some("get") => println!(r#"{{"items": []}}"#),
        _ => {}
    }
    Ok(())
}

fn ready() -> Result<(), Box<dyn Error>> {
    TcpStream::connect("127.0.0.1:9099").map_err(|error| format!("not ready: {error}"))?;
    Ok(())
}

fn datastore(words: &[String]) -> Result<(), Box<dyn Error>> {
    let urls = words.get(1).ok_or("no --listen")?.split(',');
    let addresses: Vec<String> = urls.map(|url| url.trim_start_matches("http://").into()).collect();
    listen(&addresses)
}

fn listen(addresses: &[String]) -> Result<(), Box<dyn Error>> {
    let listeners: Vec<TcpListener> =
        addresses.iter().map(TcpListener::bind).collect::<Result<_, _>>()?;
    std::thread::scope(|scope| {
        for listener in &listeners {
            scope.spawn(|| listener.incoming().for_each(drop));
        }
    });
    Ok(())
}
