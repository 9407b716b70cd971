//! Where the model runs.

use crate::error::{Failure, Kind, Result};

/// Where the model runs, and by which executor.
#[derive(Debug, Clone)]
pub enum Device {
    /// The fused CPU engine.
    Cpu,
    /// candle's tensors on one of its devices: a GPU, or the CPU as the reference.
    Candle(candle_core::Device),
}

impl Device {
    /// A word for logs and manifests.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Candle(candle_core::Device::Cpu) => "cpu (reference)",
            Self::Candle(_) => "cuda",
        }
    }
}

/// The device that `auto`, `cpu` or `cuda:N` names. `auto` takes the first GPU that works, else the CPU.
///
/// # Errors
/// [`Kind::Usage`] for another word, [`Kind::Settings`] for a GPU that is not there, or a build without CUDA.
pub fn pick(name: &str) -> Result<Device> {
    match name.split_once(':') {
        None if name == "cpu" => Ok(Device::Cpu),
        None if name == "auto" => Ok(automatic()),
        Some(("cuda", ordinal)) => match ordinal.parse() {
            Ok(ordinal) => gpu(ordinal).map_err(|reason| {
                Failure::new(Kind::Settings, format!("device {name:?} cannot be used: {reason}"))
                    .hint("use device \"auto\" or \"cpu\"")
            }),
            Err(_) => Err(unknown(name)),
        },
        _ => Err(unknown(name)),
    }
}

fn unknown(name: &str) -> Failure {
    Failure::new(Kind::Usage, format!("unknown device {name:?}"))
        .hint("use \"auto\", \"cpu\" or \"cuda:N\", such as \"cuda:0\"")
}

#[cfg(not(feature = "cuda"))]
fn automatic() -> Device {
    Device::Cpu
}

#[cfg(not(feature = "cuda"))]
fn gpu(_ordinal: usize) -> Result<Device, String> {
    Err("this build has no CUDA (cargo feature `cuda`)".into())
}

#[cfg(feature = "cuda")]
fn automatic() -> Device {
    gpu(0).unwrap_or_else(|reason| {
        tracing::warn!(%reason, "no usable gpu, running on the cpu");
        Device::Cpu
    })
}

/// Opens a GPU and runs a kernel on it: drivers that are missing or too old show only then, some of them as a panic.
#[cfg(feature = "cuda")]
fn gpu(ordinal: usize) -> Result<Device, String> {
    let probe = || -> candle_core::Result<candle_core::Device> {
        let device = candle_core::Device::new_cuda(ordinal)?;
        let ones = candle_core::Tensor::ones((4, 4), candle_core::DType::F32, &device)?;
        let sum = ones.matmul(&ones)?.sum_all()?.to_scalar::<f32>()?;
        if sum == 64.0 { Ok(device) } else { candle_core::bail!("a product of ones gave {sum}") }
    };
    match std::panic::catch_unwind(probe) {
        Ok(Ok(device)) => Ok(Device::Candle(device)),
        Ok(Err(error)) => Err(error.to_string()),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
            Err(text.unwrap_or("the CUDA driver cannot be loaded").to_string())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_checked() {
        assert!(matches!(pick("cpu"), Ok(Device::Cpu)));
        assert!(pick("auto").is_ok());
        for word in ["gpu", "cuda", "cuda:x", "cpu:0", ""] {
            assert_eq!(pick(word).expect_err(word).kind, Kind::Usage, "{word}");
        }
    }

    #[cfg(not(feature = "cuda"))]
    #[test]
    fn build_without_cuda_says_so() {
        let failure = pick("cuda:0").expect_err("there is no CUDA in this build");
        assert_eq!(failure.kind, Kind::Settings);
        assert!(failure.message.contains("no CUDA"), "{failure}");
    }
}
