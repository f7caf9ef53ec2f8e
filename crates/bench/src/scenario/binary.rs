//! The size of the program.

use crate::figure::{Figure, Target, Unit};
use anyhow::{Context, Result};
use std::fs;

/// Bytes of this very program's file, as built.
///
/// # Errors
/// The file has been removed meanwhile.
pub(crate) fn measure() -> Result<Vec<Figure>> {
    let path = std::env::current_exe().context("finding this program's file")?;
    let file = fs::metadata(&path).with_context(|| format!("looking at {}", path.display()))?;
    #[expect(clippy::cast_precision_loss, reason = "a program's size is far below 2^52")]
    let megabytes = file.len() as f64 / 1e6;
    let figure = Figure::new("binary, stripped", megabytes, Unit::Megabytes, 1);
    Ok(vec![figure.wanted(Target::AtMost(25.0))])
}
