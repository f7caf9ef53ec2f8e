//! The two programs, and what is written into them at loading.

use crate::Error;
use crate::bpf::{INSTRUCTION, Program, Set};
use std::net::Ipv4Addr;

/// Differs between builds whose programs differ.
pub(super) const VERSION: &str = env!("IPIP_VERSION");

const ENCAP: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/encap.bpf"));
const DECAP: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/decap.bpf"));

// The marks of bpf/ipip.c: the upper half is the same, the lower says what.
const MARK: u32 = 0x4341_4c49;
const SOURCES: u32 = 1;
const LOCAL: u32 = 2;
const TUNNEL: u32 = 3;
const PEER: u32 = 4;

/// A 64-bit load, in two instructions.
const LOAD: u8 = 0x18;
/// Source register of a load that means a map (`BPF_PSEUDO_MAP_FD`).
const MAP: u8 = 1;

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    Encap,
    Decap,
}

/// What the programs must know.
#[derive(Debug)]
pub(super) struct Constants {
    pub(super) local: Ipv4Addr,
    pub(super) tunnel: u32,
    pub(super) peer: u32,
}

impl Direction {
    pub(super) fn name(self) -> &'static str {
        match self {
            Direction::Encap => "encap",
            Direction::Decap => "decap",
        }
    }

    /// Loads the program with its numbers filled in.
    pub(super) fn load(self, constants: &Constants, sources: &Set) -> Result<Program, Error> {
        let mut code = match self {
            Direction::Encap => ENCAP,
            Direction::Decap => DECAP,
        }
        .to_vec();
        for at in (0..code.len() / INSTRUCTION).map(|number| number * INSTRUCTION) {
            if let Some(load) = code.get_mut(at..at + 2 * INSTRUCTION) {
                fill(load, constants, sources);
            }
        }
        let program = Program::load(&format!("calico_{}", self.name()), code)?;
        program.hold(sources)?;
        Ok(program)
    }
}

/// Replaces a load of a mark by one of what it marks. An instruction is: code, registers (upper
/// half the source), offset, number; the second one of a load holds the number's upper half.
fn fill(load: &mut [u8], constants: &Constants, sources: &Set) {
    let number = |load: &[u8], at: usize| {
        load.get(at..at + 4).and_then(|four| four.try_into().ok()).map(u32::from_ne_bytes)
    };
    if load.first() != Some(&LOAD) || number(load, INSTRUCTION + 4) != Some(MARK) {
        return;
    }
    let value = match number(load, 4) {
        Some(SOURCES) => {
            load[1] |= MAP << 4;
            sources.number()
        }
        Some(LOCAL) => u32::from_ne_bytes(constants.local.octets()),
        Some(TUNNEL) => constants.tunnel,
        Some(PEER) => constants.peer,
        _ => return,
    };
    load[4..8].copy_from_slice(&value.to_ne_bytes());
    load[INSTRUCTION + 4..].copy_from_slice(&[0; 4]);
}
