//! The server alone: what the crate's own tests kill and measure.

use clap::Parser;

#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    options: datastore::Options,
}

fn main() -> anyhow::Result<()> {
    Ok(datastore::run(Arguments::parse().options)?)
}
