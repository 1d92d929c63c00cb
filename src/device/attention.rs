//! Which kernel computes attention, decided once and with its reason.
//!
//! At the lengths of this program attention is a few percent of the work: what matters is that a kernel serves at all, and
//! that everybody can see which one did.

use std::fmt;

use crate::error::{Error, Fault, Result};
use crate::units::{AttentionChoice, Precision};

/// What an NVIDIA GPU can compute, as 8.9.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Capability {
    /// Before the point: the generation.
    pub major: u32,
    /// Behind it.
    pub minor: u32,
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// Ampere: the first generation with bf16, and with what flash attention is made of.
const AMPERE: Capability = Capability { major: 8, minor: 0 };

/// Where attention is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Processor {
    /// The CPU.
    Cpu,
    /// A GPU, and what it can compute where that is known.
    Gpu(Option<Capability>),
}

/// What is computed, as far as kernels care.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attends {
    /// Whether positions are a bias on the scores (ALiBi, DNABERT-S), not part of queries and keys (ESM-2).
    pub bias: bool,
    /// Width of a head.
    pub head_width: usize,
    /// Format of the products.
    pub precision: Precision,
}

/// A kernel for attention.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kernel {
    /// Flash attention over packed sequences of any lengths.
    Flash,
    /// Memory-efficient attention over sequences of one length.
    Efficient,
    /// Matrix products and a softmax.
    Math,
    /// Our own on a CPU (`model/kernels`).
    Cpu,
}

impl fmt::Display for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Flash => "flash attention, packed sequences",
            Self::Efficient => "memory-efficient attention, batches of one length",
            Self::Math => "matrix products and softmax",
            Self::Cpu => "own kernel, each sequence by itself",
        })
    }
}

/// A kernel, and why it is this one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chosen {
    /// The kernel.
    pub kernel: Kernel,
    /// In words.
    pub reason: String,
}

impl fmt::Display for Chosen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.kernel, self.reason)
    }
}

/// The kernel for `attends` on `processor`: the one asked for, or the first that serves of flash, efficient and math.
///
/// # Errors
/// [`Fault::Usage`] where the one asked for does not serve.
pub fn choose(choice: AttentionChoice, attends: Attends, processor: Processor) -> Result<Chosen> {
    let capability = match processor {
        Processor::Cpu => return on_cpu(choice),
        Processor::Gpu(capability) => capability,
    };
    let flash = || flash_refuses(attends, capability);
    let efficient = || efficient_refuses(attends, capability);
    let (kernel, refusal) = match choice {
        AttentionChoice::Auto => return Ok(automatic(flash(), efficient())),
        AttentionChoice::Flash => (Kernel::Flash, flash()),
        AttentionChoice::Efficient => (Kernel::Efficient, efficient()),
        AttentionChoice::Math => (Kernel::Math, None),
    };
    match refusal {
        // Not knowing is no refusal for somebody who asks for it.
        Some(refusal) if refusal.certain => Err(refused(choice, &refusal.why)),
        _ => Ok(Chosen { kernel, reason: "--attention".to_owned() }),
    }
}

fn on_cpu(choice: AttentionChoice) -> Result<Chosen> {
    match choice {
        AttentionChoice::Auto => Ok(Chosen { kernel: Kernel::Cpu, reason: "automatic on a CPU".to_owned() }),
        _ => Err(refused(choice, "it is a choice for GPUs, and this runs on a CPU")),
    }
}

fn refused(choice: AttentionChoice, why: &str) -> Error {
    Error::new(Fault::Usage, format!("--attention {choice} is not possible: {why}"))
        .expected("--attention auto, or a kernel that serves")
        .advice("leave out --attention: the program takes what serves, and `virnucpro info` says which and why")
}

fn automatic(flash: Option<Refusal>, efficient: Option<Refusal>) -> Chosen {
    match (flash, efficient) {
        (None, _) => Chosen { kernel: Kernel::Flash, reason: "automatic".to_owned() },
        (Some(flash), None) => Chosen { kernel: Kernel::Efficient, reason: format!("not flash: {}", flash.why) },
        (Some(flash), Some(efficient)) if flash.why == efficient.why => {
            Chosen { kernel: Kernel::Math, reason: format!("neither flash nor efficient: {}", flash.why) }
        }
        (Some(flash), Some(efficient)) => Chosen {
            kernel: Kernel::Math,
            reason: format!("not flash: {}; not efficient: {}", flash.why, efficient.why),
        },
    }
}

/// Why a kernel does not serve.
struct Refusal {
    why: String,
    /// Whether it is known that it does not, or only not known that it does.
    certain: bool,
}

impl Refusal {
    fn certain(why: impl Into<String>) -> Option<Self> {
        Some(Self { why: why.into(), certain: true })
    }
}

const NOT_KNOWN: &str = "the compute capability of the GPU is not known";

fn flash_refuses(attends: Attends, capability: Option<Capability>) -> Option<Refusal> {
    let Attends { bias, head_width, precision } = attends;
    match capability {
        _ if bias => Refusal::certain("libtorch's kernel takes no bias, which ALiBi is"),
        _ if precision == Precision::F32 => Refusal::certain("it computes in f16 and bf16 only"),
        _ if head_width % 8 != 0 || head_width > 256 => Refusal::certain(format!("heads are {head_width} wide")),
        Some(found) if found < AMPERE => {
            Refusal::certain(format!("the compute capability of the GPU is {found}, below {AMPERE}"))
        }
        Some(_) => None,
        None => Some(Refusal { why: NOT_KNOWN.to_owned(), certain: false }),
    }
}

fn efficient_refuses(attends: Attends, capability: Option<Capability>) -> Option<Refusal> {
    let Attends { head_width, precision, .. } = attends;
    // Rows of queries and keys start at multiples of 16 bytes.
    let multiple = if precision == Precision::F32 { 4 } else { 8 };
    match capability {
        _ if head_width % multiple != 0 => Refusal::certain(format!("heads are {head_width} wide")),
        Some(found) if found < AMPERE && precision == Precision::Bf16 => {
            Refusal::certain(format!("the compute capability of the GPU is {found}, below {AMPERE}, as bf16 needs"))
        }
        Some(_) => None,
        None => Some(Refusal { why: NOT_KNOWN.to_owned(), certain: false }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use AttentionChoice::{Auto, Efficient, Flash, Math};
    use Precision::{Bf16, F16, F32};

    const TURING: Processor = Processor::Gpu(Some(Capability { major: 7, minor: 5 }));
    const ADA: Processor = Processor::Gpu(Some(Capability { major: 8, minor: 9 }));
    const UNKNOWN: Processor = Processor::Gpu(None);

    fn esm(precision: Precision) -> Attends {
        Attends { bias: false, head_width: 64, precision }
    }

    fn dnabert(precision: Precision) -> Attends {
        Attends { bias: true, head_width: 64, precision }
    }

    fn narrow(head_width: usize, precision: Precision) -> Attends {
        Attends { bias: false, head_width, precision }
    }

    #[test]
    fn the_kernel_follows_from_device_model_and_format_with_its_reason() {
        for (choice, attends, processor, kernel, reason) in [
            (Auto, esm(F32), Processor::Cpu, Kernel::Cpu, "CPU"),
            (Auto, dnabert(Bf16), Processor::Cpu, Kernel::Cpu, "CPU"),
            (Auto, esm(F16), ADA, Kernel::Flash, "automatic"),
            (Auto, esm(Bf16), ADA, Kernel::Flash, "automatic"),
            (Auto, esm(F32), ADA, Kernel::Efficient, "f16 and bf16 only"),
            (Auto, dnabert(F16), ADA, Kernel::Efficient, "ALiBi"),
            (Auto, dnabert(F32), ADA, Kernel::Efficient, "ALiBi"),
            (Auto, esm(F16), TURING, Kernel::Efficient, "7.5, below 8.0"),
            (Auto, esm(Bf16), TURING, Kernel::Math, "as bf16 needs"),
            (Auto, dnabert(F16), TURING, Kernel::Efficient, "ALiBi"),
            (Auto, dnabert(Bf16), TURING, Kernel::Math, "as bf16 needs"),
            (Auto, esm(F16), UNKNOWN, Kernel::Math, "not known"),
            (Auto, narrow(12, F16), ADA, Kernel::Math, "neither flash nor efficient: heads are 12 wide"),
            (Auto, narrow(12, F32), ADA, Kernel::Efficient, "f16 and bf16 only"),
            (Auto, narrow(264, F16), ADA, Kernel::Efficient, "264 wide"),
            (Flash, esm(Bf16), ADA, Kernel::Flash, "--attention"),
            (Flash, esm(F16), UNKNOWN, Kernel::Flash, "--attention"),
            (Efficient, esm(F16), ADA, Kernel::Efficient, "--attention"),
            (Efficient, dnabert(F32), TURING, Kernel::Efficient, "--attention"),
            (Efficient, dnabert(F16), UNKNOWN, Kernel::Efficient, "--attention"),
            (Math, dnabert(Bf16), TURING, Kernel::Math, "--attention"),
            (Math, esm(F16), ADA, Kernel::Math, "--attention"),
        ] {
            let case = format!("{choice} {attends:?} {processor:?}");
            let chosen = choose(choice, attends, processor).unwrap();
            assert_eq!(chosen.kernel, kernel, "{case}: {chosen}");
            assert!(chosen.reason.contains(reason), "{case}: {chosen}");
        }
    }

    #[test]
    fn a_kernel_that_cannot_serve_is_refused_with_the_reason() {
        for (choice, attends, processor, reason) in [
            (Flash, dnabert(F16), ADA, "ALiBi"),
            (Flash, dnabert(F16), UNKNOWN, "ALiBi"),
            (Flash, esm(F32), ADA, "f16 and bf16 only"),
            (Flash, esm(F16), TURING, "7.5, below 8.0"),
            (Flash, narrow(12, F16), ADA, "heads are 12 wide"),
            (Efficient, narrow(12, F16), ADA, "heads are 12 wide"),
            (Efficient, narrow(6, F32), ADA, "heads are 6 wide"),
            (Efficient, esm(Bf16), TURING, "below 8.0"),
            (Flash, esm(F16), Processor::Cpu, "CPU"),
            (Efficient, esm(F32), Processor::Cpu, "CPU"),
            (Math, dnabert(F32), Processor::Cpu, "CPU"),
        ] {
            let error = choose(choice, attends, processor).unwrap_err();
            assert_eq!(error.fault(), Fault::Usage);
            let text = error.to_string();
            assert!(text.contains(reason) && text.contains(&format!("--attention {choice}")), "{text}");
        }
    }
}
