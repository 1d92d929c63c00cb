//! Compiles the C++ shim against libtorch, and tells the linker where the executable finds libtorch at run time.

#[cfg(feature = "torch")]
use std::path::Path;

fn main() {
    println!("cargo:rerun-if-env-changed=LIBTORCH");
    println!("cargo:rerun-if-changed=src/device/shim");
    #[cfg(feature = "torch")]
    if std::env::var("CARGO_CFG_TARGET_OS").as_deref() == Ok("linux") {
        let libtorch = std::env::var("LIBTORCH").unwrap_or_default();
        compile_shim(Path::new(&libtorch));
        // Installed: a release's own libtorch, or one that other packages share. In development: the folder it was linked
        // from. That one stays last: `make dist` cuts it off.
        let installed = "-rpath,$ORIGIN/../lib/virnucpro/torch/lib,-rpath,$ORIGIN/../lib";
        let linked = if libtorch.is_empty() { String::new() } else { format!(",-rpath,{libtorch}/lib") };
        println!("cargo:rustc-link-arg=-Wl,--enable-new-dtags,{installed}{linked}");
    }
}

#[cfg(feature = "torch")]
fn compile_shim(libtorch: &Path) {
    let include = libtorch.join("include");
    cc::Build::new()
        .cpp(true)
        .std("c++17")
        .opt_level(2)
        .debug(false)
        .warnings(false) // libtorch's headers have many
        .include(&include)
        .include(include.join("torch/csrc/api/include"))
        .files(["accelerator.cpp", "products.cpp"].map(|file| Path::new("src/device/shim").join(file)))
        .compile("virnucpro_shim");
}
