//! bpf(2): hash maps and programs, as far as IP-in-IP needs them.
//!
//! Both live while a file descriptor, another object or an attachment holds them.

use crate::Error;
use nix::errno::Errno;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

// Commands and kinds of linux/bpf.h.
const MAP_CREATE: libc::c_long = 0;
const MAP_UPDATE_ELEM: libc::c_long = 2;
const MAP_DELETE_ELEM: libc::c_long = 3;
const MAP_GET_NEXT_KEY: libc::c_long = 4;
const PROG_LOAD: libc::c_long = 5;
const MAP_GET_FD_BY_ID: libc::c_long = 14;
const OBJ_GET_INFO_BY_FD: libc::c_long = 15;
const PROG_BIND_MAP: libc::c_long = 35;
const MAP_TYPE_HASH: u32 = 1;
const PROG_TYPE_SCHED_CLS: u32 = 3;
/// Memory is taken with the entries, not before.
const NO_PREALLOC: u32 = 1;
/// Bytes of an instruction.
pub(crate) const INSTRUCTION: usize = 8;
/// Bytes of what the kernel says about a program that it refuses.
const LOG: usize = 256 * 1024;
/// Bytes of a name, with the 0 at its end.
const NAME: usize = 16;

#[repr(C)]
#[derive(Default)]
struct MapCreate {
    map_type: u32,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
    map_flags: u32,
    inner_map_fd: u32,
    numa_node: u32,
    name: [u8; NAME],
}

#[repr(C)]
#[derive(Default)]
struct MapElement {
    map: u32,
    padding: u32,
    key: u64,
    /// Or the place for the next key.
    value: u64,
    flags: u64,
}

#[repr(C)]
#[derive(Default)]
struct ProgLoad {
    prog_type: u32,
    count: u32,
    instructions: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log: u64,
    kernel_version: u32,
    flags: u32,
    name: [u8; NAME],
}

#[repr(C)]
#[derive(Default)]
struct GetById {
    id: u32,
    next: u32,
    flags: u32,
}

#[repr(C)]
#[derive(Default)]
struct GetInfo {
    file: u32,
    length: u32,
    info: u64,
}

/// The start of `bpf_map_info`.
#[repr(C)]
#[derive(Default)]
struct MapInfo {
    map_type: u32,
    id: u32,
    key_size: u32,
    value_size: u32,
}

#[repr(C)]
#[derive(Default)]
struct BindMap {
    program: u32,
    map: u32,
    flags: u32,
}

/// Calls bpf(2); its attribute must be one of the structures above, right for the command.
fn bpf<T>(command: libc::c_long, attribute: &mut T) -> Result<libc::c_long, Errno> {
    let size = libc::c_long::try_from(size_of::<T>()).unwrap_or(0);
    // SAFETY: the kernel reads and writes `size` bytes of the attribute, which is exclusively
    // borrowed; buffers it points to are kept alive and are as large as said by the callers.
    Errno::result(unsafe { libc::syscall(libc::SYS_bpf, command, &raw mut *attribute, size) })
}

fn file(number: libc::c_long) -> OwnedFd {
    let number = i32::try_from(number).unwrap_or(-1);
    // SAFETY: bpf(2) has just returned this new file descriptor, which nobody else owns.
    unsafe { OwnedFd::from_raw_fd(number) }
}

fn number(file: &OwnedFd) -> u32 {
    file.as_raw_fd().cast_unsigned()
}

fn address<T>(bytes: &mut [T]) -> u64 {
    bytes.as_mut_ptr() as u64
}

fn named(name: &str) -> [u8; NAME] {
    let mut bytes = [0; NAME];
    for (to, from) in bytes.iter_mut().take(NAME - 1).zip(name.bytes()) {
        *to = from;
    }
    bytes
}

/// A set of four bytes each: a hash map whose values say nothing.
#[derive(Debug)]
pub(crate) struct Set {
    file: OwnedFd,
}

/// A set's element.
pub(crate) type Element = [u8; 4];

impl Set {
    /// An empty set.
    pub(crate) fn create(name: &str, entries_max: u32) -> Result<Set, Error> {
        let mut attribute = MapCreate {
            map_type: MAP_TYPE_HASH,
            key_size: 4,
            value_size: 4,
            max_entries: entries_max,
            map_flags: NO_PREALLOC,
            name: named(name),
            ..MapCreate::default()
        };
        let made = bpf(MAP_CREATE, &mut attribute);
        let made = made.map_err(|errno| Error::system("making the BPF map", name, errno))?;
        Ok(Set { file: file(made) })
    }

    /// The set with this number; an absent one is an error ([`Error::is_absent`]).
    pub(crate) fn open(id: u32) -> Result<Set, Error> {
        let mut attribute = GetById { id, ..GetById::default() };
        let opened = bpf(MAP_GET_FD_BY_ID, &mut attribute);
        let object = || format!("map {id}");
        let opened = opened.map_err(|errno| Error::system("opening the BPF", object(), errno))?;
        let set = Set { file: file(opened) };
        let info = set.info()?;
        if (info.map_type, info.key_size, info.value_size) == (MAP_TYPE_HASH, 4, 4) {
            return Ok(set);
        }
        Err(Error::system("opening the BPF", object(), Errno::ENOENT))
    }

    /// The kernel's number for it.
    pub(crate) fn id(&self) -> Result<u32, Error> {
        Ok(self.info()?.id)
    }

    fn info(&self) -> Result<MapInfo, Error> {
        let mut info = [MapInfo::default()];
        let length = u32::try_from(size_of::<MapInfo>()).unwrap_or(0);
        let mut attribute = GetInfo { file: number(&self.file), length, info: address(&mut info) };
        self.result("reading", bpf(OBJ_GET_INFO_BY_FD, &mut attribute))?;
        let [info] = info;
        Ok(info)
    }

    pub(crate) fn insert(&self, mut element: Element) -> Result<(), Error> {
        let mut value = [0u8; 4];
        let mut attribute = self.at(&mut element);
        attribute.value = address(&mut value);
        self.result("adding to", bpf(MAP_UPDATE_ELEM, &mut attribute))
    }

    /// One that isn't there is an error ([`Error::is_absent`]).
    pub(crate) fn remove(&self, mut element: Element) -> Result<(), Error> {
        let mut attribute = self.at(&mut element);
        self.result("removing from", bpf(MAP_DELETE_ELEM, &mut attribute))
    }

    pub(crate) fn elements(&self) -> Result<Vec<Element>, Error> {
        let mut elements: Vec<Element> = Vec::new();
        loop {
            let mut next = Element::default();
            let (map, value) = (number(&self.file), address(&mut next));
            let mut attribute = MapElement { map, value, ..MapElement::default() };
            let mut last = elements.last().copied();
            if let Some(last) = &mut last {
                attribute.key = address(last);
            }
            match bpf(MAP_GET_NEXT_KEY, &mut attribute) {
                Ok(_) => elements.push(next),
                Err(Errno::ENOENT) => return Ok(elements),
                Err(errno) => self.result("reading", Err(errno))?,
            }
        }
    }

    fn at(&self, element: &mut Element) -> MapElement {
        let (map, key) = (number(&self.file), address(element));
        MapElement { map, key, ..MapElement::default() }
    }

    fn result(
        &self,
        operation: &'static str,
        result: Result<libc::c_long, Errno>,
    ) -> Result<(), Error> {
        let object = || format!("the BPF map of file {}", number(&self.file));
        result.map(|_| ()).map_err(|errno| Error::system(operation, object(), errno))
    }

    /// The number that instructions know it by while they are loaded.
    pub(crate) fn number(&self) -> u32 {
        number(&self.file)
    }
}

/// A program for tc.
#[derive(Debug)]
pub(crate) struct Program {
    file: OwnedFd,
}

impl Program {
    /// Has the kernel check and take a program.
    pub(crate) fn load(name: &str, mut code: Vec<u8>) -> Result<Program, Error> {
        let mut license = *b"GPL\0";
        let mut attribute = ProgLoad {
            prog_type: PROG_TYPE_SCHED_CLS,
            count: u32::try_from(code.len() / INSTRUCTION).unwrap_or(u32::MAX),
            instructions: address(&mut code),
            license: address(&mut license),
            name: named(name),
            ..ProgLoad::default()
        };
        match bpf(PROG_LOAD, &mut attribute) {
            Ok(loaded) => Ok(Program { file: file(loaded) }),
            Err(errno) => {
                // Once more, to hear why.
                let mut log = vec![0u8; LOG];
                attribute.log_level = 1;
                attribute.log_size = u32::try_from(LOG).unwrap_or(0);
                attribute.log = address(&mut log);
                let again = bpf(PROG_LOAD, &mut attribute).map(file);
                if let Ok(file) = again {
                    return Ok(Program { file });
                }
                let object = format!("{name}{}", reason(&log));
                Err(Error::system("loading the BPF program", object, errno))
            }
        }
    }

    /// Keeps a set alive for as long as the program, though the program may not use it.
    pub(crate) fn hold(&self, set: &Set) -> Result<(), Error> {
        let mut attribute =
            BindMap { program: number(&self.file), map: number(&set.file), flags: 0 };
        set.result("binding", bpf(PROG_BIND_MAP, &mut attribute))
    }

    pub(crate) fn number(&self) -> u32 {
        number(&self.file)
    }
}

/// The verifier's last words that aren't its statistics.
fn reason(log: &[u8]) -> String {
    let text = String::from_utf8_lossy(log.split(|byte| *byte == 0).next().unwrap_or_default());
    let said = text.lines().rfind(|line| !line.is_empty() && !line.starts_with("processed "));
    said.map(|line| format!(" ({line})")).unwrap_or_default()
}
