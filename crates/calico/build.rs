//! How the one binary is linked.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    // A word each for the 50,000 addresses that are known only when the program is loaded would be
    // 1.3 MB; packed they are a twentieth. The loader is glibc's, 2.36 or later, which is linked in.
    println!("cargo:rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    // Of generic code that came out the same for many types one copy is kept: 0.7 MB. Nothing here
    // tells functions apart by their addresses, which Rust doesn't promise to be different either.
    if std::env::var("PROFILE").as_deref() == Ok("release") {
        println!("cargo:rustc-link-arg-bins=-Wl,--icf=all");
    }
}
