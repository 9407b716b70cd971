//! U-Net (Ronneberger, Fischer & Brox 2015, arXiv:1505.04597): down, up, and a bridge at every level.
//!
//! As published, but for "same" padding (nothing is cropped) and a normalisation after each convolution.

use super::feedforward::Chain;
use super::graph::{Builder, Layer, Shape, Window};
use super::network::Network;
use crate::error::{Failure, Kind, Result};
use crate::pipeline::{self, Norm, Spec, Upsample};

const SAME: Window = Window { kernel: 3, stride: 1, padding: 1 };

/// A U-Net from `input` to `outputs` channels of the same side; `widths` of its levels, the last is the bottom.
///
/// # Errors
/// [`Kind::Settings`] where the side cannot be halved as often as there are levels above the bottom.
pub fn unet(input: Shape, outputs: usize, widths: &[usize], norm: Norm, upsample: Upsample) -> Result<Chain> {
    let (Some((&bottom, levels)), factor) = (widths.split_last(), 1usize << widths.len().saturating_sub(1).min(30))
    else {
        return Err(Failure::new(Kind::Settings, "a U-Net of no levels: name at least one width"));
    };
    if !input.h.is_multiple_of(factor) || widths.contains(&0) {
        return Err(Failure::new(
            Kind::Settings,
            format!(
                "a U-Net of widths {widths:?} on {} pixels: it needs widths above 0 and a multiple of {factor}",
                input.h
            ),
        ));
    }
    let mut parameters = Vec::new();
    let mut net = Builder::new("unet", input, true, &mut parameters);
    let mut bridges = Vec::new();
    for &width in levels {
        bridges.push(level(&mut net, width, norm));
        net.pool(Layer::MaxPool2d, 2, 2);
    }
    level(&mut net, bottom, norm);
    for (&width, &bridge) in levels.iter().zip(&bridges).rev() {
        net.double(width, upsample);
        net.concat(bridge);
        level(&mut net, width, norm);
    }
    net.conv(outputs, Window { kernel: 1, stride: 1, padding: 0 });
    let (output, lists) = (net.shape, vec![net.nodes]);
    Ok(Chain { network: Network { lists, parameters }, input, output })
}

/// The U-Net of a pipeline file, on its tiles.
///
/// # Errors
/// Those of [`unet`].
pub fn beside(spec: &Spec, network: &pipeline::Unet, outputs: usize) -> Result<Chain> {
    let input = Shape { c: spec.input.channels, h: spec.input.size, w: spec.input.size };
    unet(input, outputs, &network.widths, network.norm, network.upsample)
}

/// Two convolutions, each normalised and rectified; returns the last node.
fn level(net: &mut Builder, width: usize, norm: Norm) -> usize {
    let mut last = 0;
    for _ in 0..2 {
        net.conv(width, SAME);
        net.norm(norm);
        last = net.same(Layer::Relu);
    }
    last
}
