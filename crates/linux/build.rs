//! Compiles the IP-in-IP programs (`bpf/ipip.c`) and takes their instructions out of the object
//! file. They have no relocations: what is known only at loading is marked in them.

use std::path::{Path, PathBuf};
use std::process::Command;

const SOURCE: &str = "../../bpf/ipip.c";
const PROGRAMS: [&str; 2] = ["encap", "decap"];
/// What Debian calls all that the compilation needs.
const PACKAGES: &str = "clang libbpf-dev linux-libc-dev";

fn main() {
    println!("cargo::rerun-if-changed={SOURCE}");
    let directory = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    let object = directory.join("ipip.o");
    compile(&object);
    let bytes = std::fs::read(&object).expect("clang has written the object file");
    let mut version = FNV_OFFSET;
    for program in PROGRAMS {
        let code = section(&bytes, &format!("tc/{program}"))
            .unwrap_or_else(|| panic!("{SOURCE} has no section tc/{program}"));
        let relocations = section(&bytes, &format!(".reltc/{program}"));
        assert!(relocations.is_none(), "{program} needs relocations: make its data constants");
        version = code
            .iter()
            .fold(version, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(FNV_PRIME));
        std::fs::write(directory.join(format!("{program}.bpf")), code).expect("OUT_DIR is ours");
    }
    println!("cargo::rustc-env=IPIP_VERSION={version:08x}");
}

/// FNV-1a, to tell this build's programs from another's.
const FNV_OFFSET: u32 = 0x811c_9dc5;
const FNV_PRIME: u32 = 0x0100_0193;

fn compile(object: &Path) {
    // Debian keeps the kernel's headers for an architecture apart, where -target bpf doesn't look.
    let machine = std::env::var("CARGO_CFG_TARGET_ARCH").expect("cargo sets the target");
    let endian = match std::env::var("CARGO_CFG_TARGET_ENDIAN").as_deref() {
        Ok("big") => "bpfeb",
        _ => "bpfel",
    };
    let status = Command::new("clang")
        .args(["-O2", "-Wall", "-Wextra", "-Werror", "-target", endian])
        .arg(format!("-I/usr/include/{machine}-linux-gnu"))
        .args(["-c", SOURCE, "-o"])
        .arg(object)
        .status();
    match status {
        Ok(status) if status.success() => {}
        Ok(_) => panic!(
            "clang cannot compile {SOURCE}: see above; are all packages there? \
             apt-get install {PACKAGES}"
        ),
        Err(error) => panic!(
            "clang, which compiles {SOURCE}, cannot be started: {error}; \
             apt-get install {PACKAGES}, or run scripts/setup"
        ),
    }
}

/// A section of an ELF file of 64 bits, of this machine's byte order: `e_shoff`, `e_shentsize`,
/// `e_shnum` and `e_shstrndx` of its header lead to the table of sections, whose entries hold name,
/// offset and size (System V ABI, "Sections").
fn section<'a>(file: &'a [u8], wanted: &str) -> Option<&'a [u8]> {
    let number = |at: usize, bytes: usize| {
        let little = file.get(at..at + bytes)?;
        let mut number = [0; 8];
        number[..bytes].copy_from_slice(little);
        usize::try_from(u64::from_le_bytes(number)).ok()
    };
    let (table, entry, count) = (number(40, 8)?, number(58, 2)?, number(60, 2)?);
    let content = |index: usize| {
        let at = table + index * entry;
        let (offset, size) = (number(at + 24, 8)?, number(at + 32, 8)?);
        file.get(offset..offset + size)
    };
    let names = content(number(62, 2)?)?;
    (0..count).find_map(|index| {
        let name = names.get(number(table + index * entry, 4)?..)?;
        let name = name.split(|byte| *byte == 0).next()?;
        if name == wanted.as_bytes() { content(index) } else { None }
    })
}
