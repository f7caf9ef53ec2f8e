//! What a command reads and prints, so that a test can type and look.

use crate::Error;
use std::io::{ErrorKind, Read, Write};

/// Standard input and output, or a test's.
pub(crate) struct Terminal<'a> {
    pub(crate) input: &'a mut dyn Read,
    pub(crate) output: &'a mut dyn Write,
}

impl Terminal<'_> {
    /// Everything there is to read.
    pub(crate) fn read(&mut self) -> std::io::Result<String> {
        let mut text = String::new();
        self.input.read_to_string(&mut text)?;
        Ok(text)
    }

    /// Prints; a reader that has gone (`| head`) is no error.
    pub(crate) fn print(&mut self, text: &str) -> Result<(), Error> {
        let written = self.output.write_all(text.as_bytes()).and_then(|()| self.output.flush());
        match written {
            Err(why) if why.kind() != ErrorKind::BrokenPipe => {
                Err(Error::Other(format!("cannot write the output: {why}")))
            }
            _ => Ok(()),
        }
    }
}
