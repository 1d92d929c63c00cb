//! Tells the linker where the executable finds libtorch at run time.

fn main() {
    println!("cargo:rerun-if-env-changed=LIBTORCH");
    let torch = std::env::var_os("CARGO_FEATURE_TORCH").is_some();
    if torch && std::env::var("CARGO_CFG_TARGET_OS").as_deref() == Ok("linux") {
        // Installed: bin/virnucpro beside lib/. In development: the folder it was linked from.
        let libtorch = std::env::var("LIBTORCH").unwrap_or_default();
        println!("cargo:rustc-link-arg=-Wl,--enable-new-dtags,-rpath,$ORIGIN/../lib,-rpath,{libtorch}/lib");
    }
}
