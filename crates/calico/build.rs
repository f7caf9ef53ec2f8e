//! How the one binary is linked.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    // A word each for the 50,000 addresses that are known only when the program is loaded would be
    // 1.3 MB; packed they are a twentieth. The loader is glibc's, 2.36 or later, which is linked in.
    println!("cargo:rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
}
