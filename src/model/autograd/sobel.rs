//! [`crate::model::sobel`] on candle's tensors, differentiable by candle.

use candle_core::Tensor;

use crate::model::sobel::{ARCTAN, FLOOR, SHARE, TURN};

/// `[n, c, h, w]` to `[n, 5 c, h, w]`: the image, `Gx`, `Gy`, magnitude, angle.
pub(super) fn filter(x: &Tensor) -> candle_core::Result<Tensor> {
    let (_, _, h, w) = x.dims4()?;
    // Beyond its border the image goes on as its outermost pixels.
    let wide = x.pad_with_same(2, 1, 1)?.pad_with_same(3, 1, 1)?; // [n, c, h + 2, w + 2]
    let rows = |first| wide.narrow(2, first, h);
    let smooth = ((rows(0)? + (rows(1)? * 2.0)?)? + rows(2)?)?; // [n, c, h, w + 2]
    let step = (rows(2)? - rows(0)?)?;
    let gx = ((smooth.narrow(3, 2, w)? - smooth.narrow(3, 0, w)?)? * f64::from(SHARE))?; // [n, c, h, w]
    let sum = ((step.narrow(3, 0, w)? + (step.narrow(3, 1, w)? * 2.0)?)? + step.narrow(3, 2, w)?)?;
    let gy = (sum * f64::from(SHARE))?;
    let (magnitude, angle) = polar(&gx, &gy)?;
    Tensor::cat(&[x, &gx, &gy, &magnitude, &angle], 1)
}

/// Magnitude and weighted angle.
fn polar(gx: &Tensor, gy: &Tensor) -> candle_core::Result<(Tensor, Tensor)> {
    let magnitude = ((gx.sqr()? + gy.sqr()?)? + f64::from(FLOOR))?.sqrt()?;
    let t = gx.div(&(&magnitude + gy.abs()?)?)?;
    let raw = (&magnitude * f64::from(1.0 / SHARE))?;
    let weight = raw.div(&(&raw + 1.0)?)?;
    let angle = ((arctan(&t)? * f64::from(TURN))? * weight)?;
    Ok((magnitude, angle))
}

fn arctan(t: &Tensor) -> candle_core::Result<Tensor> {
    let square = t.sqr()?;
    let mut sum = square.zeros_like()?;
    for c in ARCTAN.iter().rev() {
        sum = (sum.mul(&square)? + f64::from(*c))?;
    }
    t + t.mul(&square)?.mul(&sum)?
}
