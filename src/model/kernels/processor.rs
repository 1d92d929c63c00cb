//! The vectors that a processor computes with.

/// Values that are added side by side, whatever the width of the processor's vectors.
pub(super) const LANES: usize = 16;

/// Vectors that a processor computes with.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Vectors {
    /// AVX-512.
    Avx512,
    /// AVX2 with FMA.
    Avx2,
    /// What every processor of its kind has.
    Baseline,
}

/// The widest of this processor.
pub(super) fn widest_vectors() -> Vectors {
    #[cfg(target_arch = "x86_64")]
    {
        let fused = is_x86_feature_detected!("fma");
        let avx512 = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vl");
        match () {
            () if fused && avx512 => return Vectors::Avx512,
            () if fused && is_x86_feature_detected!("avx2") => return Vectors::Avx2,
            () => {}
        }
    }
    Vectors::Baseline
}

/// Work that is compiled for several kinds of processor. Mark `run`, and what it calls, `#[inline(always)]`.
#[cfg(feature = "torch")]
pub(super) trait Kernel {
    /// Does the work.
    fn run(self);
}

/// Runs a kernel with the widest vectors of this processor.
#[cfg(feature = "torch")]
pub(super) fn on_widest_vectors<K: Kernel>(kernel: K) {
    #[cfg(target_arch = "x86_64")]
    #[allow(unsafe_code)]
    {
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,fma")]
        fn with_avx512<K: Kernel>(kernel: K) {
            kernel.run();
        }
        #[target_feature(enable = "avx2,fma")]
        fn with_avx2<K: Kernel>(kernel: K) {
            kernel.run();
        }
        match widest_vectors() {
            // SAFETY: the processor has what the function is compiled for.
            Vectors::Avx512 => return unsafe { with_avx512(kernel) },
            // SAFETY: likewise.
            Vectors::Avx2 => return unsafe { with_avx2(kernel) },
            Vectors::Baseline => {}
        }
    }
    kernel.run();
}
