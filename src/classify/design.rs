//! Which network classifies.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::error::{Failure, Kind, Result};
use crate::model::alexnet::alexnet;
use crate::model::feedforward::Chain;
use crate::model::graph::Shape;
use crate::model::lenet::lenet5;
use crate::pipeline::Input;

/// Smallest side that leaves pixels after the last pooling.
const SMALLEST: usize = 16;

/// A published classifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Network {
    /// LeNet-5 (LeCun et al. 1998).
    #[value(name = "lenet5")]
    LeNet5,
    /// AlexNet (Krizhevsky et al. 2012), scaled to the input.
    #[value(name = "alexnet")]
    AlexNet,
}

/// A network and its size.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Design {
    /// Which.
    pub network: Network,
    /// AlexNet's filters and units as a share of the published ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub width: Option<f32>,
}

impl Design {
    /// The layers, for these tiles and classes.
    ///
    /// # Errors
    /// [`Kind::Usage`] for tiles too small, a width where there is none to choose, or none where there is.
    pub fn chain(&self, input: &Input, classes: usize) -> Result<Chain> {
        let shape = Shape { c: input.channels, h: input.size, w: input.size };
        let wrong = |what: String| Err(Failure::new(Kind::Usage, what));
        if input.size < SMALLEST {
            return wrong(format!("tiles of {0}x{0} pixels: these networks take at least {SMALLEST}", input.size));
        }
        match (self.network, self.width) {
            (Network::LeNet5, None) => Ok(lenet5(shape, classes)),
            (Network::LeNet5, Some(_)) => wrong("LeNet-5 is as published: --width is AlexNet's".into()),
            (Network::AlexNet, Some(width)) if width > 0.0 && width <= 1.0 => Ok(alexnet(shape, classes, width)),
            (Network::AlexNet, _) => {
                wrong("AlexNet needs --width, a share of its published size, such as 0.125".into())
            }
        }
    }
}
