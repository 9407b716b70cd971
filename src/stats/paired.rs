//! Two models on the same frames: differences with their standard errors.

/// A figure of a model and of another, on the same frames.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Difference {
    /// Of the one.
    pub of: f64,
    /// Of the one it is compared with.
    pub against: f64,
    /// Standard error of `of - against`, the frames being what is drawn by chance.
    pub standard_error: f64,
}

/// Difference of two means over the same frames; `None` for fewer than two.
pub fn means(of: &[f64], against: &[f64]) -> Option<Difference> {
    let count = of.len() as f64;
    if of.len() < 2 || of.len() != against.len() {
        return None;
    }
    let differences: Vec<f64> = of.iter().zip(against).map(|(a, b)| a - b).collect();
    Some(Difference {
        of: of.iter().sum::<f64>() / count,
        against: against.iter().sum::<f64>() / count,
        standard_error: (variance(&differences) / count).sqrt(),
    })
}

/// Scores that a model gives to normal frames and, each a list of one or several, to anomalous ones.
#[derive(Debug, Clone, Copy)]
pub struct Ranked<'a> {
    /// Of normal frames.
    pub normal: &'a [f64],
    /// Of anomalous frames; those of one list are of one scene and count as one.
    pub anomalous: &'a [Vec<f64>],
}

/// Difference of two areas under the ROC curve on the same frames, by the placements of each frame among those of the other sort
/// (DeLong, DeLong & Clarke-Pearson 1988, Biometrics 44, 837); `None` for fewer than two frames of a sort.
pub fn areas(of: Ranked, against: Ranked) -> Option<Difference> {
    let (one, other) = (placements(of)?, placements(against)?);
    let part = |a: &[f64], b: &[f64]| -> f64 {
        let differences: Vec<f64> = a.iter().zip(b).map(|(a, b)| a - b).collect();
        variance(&differences) / differences.len() as f64
    };
    let error = (part(&one.0, &other.0) + part(&one.1, &other.1)).sqrt();
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    Some(Difference { of: mean(&one.0), against: mean(&other.0), standard_error: error })
}

/// Of each anomalous scene the share of normal frames below it, and of each normal frame the share of anomalous scenes above it.
fn placements(Ranked { normal, anomalous }: Ranked) -> Option<(Vec<f64>, Vec<f64>)> {
    if normal.len() < 2 || anomalous.len() < 2 || anomalous.iter().any(Vec::is_empty) {
        return None;
    }
    let above = |high: f64, low: f64| f64::from(u8::from(high > low)) + 0.5 * f64::from(u8::from(high == low));
    let (count, scenes) = (normal.len() as f64, anomalous.len() as f64);
    let (mut of_scenes, mut of_normal) = (vec![0.0; anomalous.len()], vec![0.0; normal.len()]);
    for (scene, scores) in of_scenes.iter_mut().zip(anomalous) {
        let weight = 1.0 / scores.len() as f64;
        for &score in scores {
            for (place, &low) in of_normal.iter_mut().zip(normal) {
                let win = weight * above(score, low);
                *scene += win / count;
                *place += win / scenes;
            }
        }
    }
    Some((of_scenes, of_normal))
}

/// Unbiased; of two values at least.
fn variance(values: &[f64]) -> f64 {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (count - 1.0)
}

/// Standard deviation; of two values at least.
pub fn deviation(values: &[f64]) -> f64 {
    variance(values).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::fixtures::normals;
    use crate::stats::metrics::auroc;

    #[test]
    fn the_same_scores_differ_by_nothing() {
        let (normal, anomalous) = (normals(50, 1), vec![vec![1.0], vec![2.0, 0.5]]);
        let ranked = Ranked { normal: &normal, anomalous: &anomalous };
        let difference = areas(ranked, ranked).unwrap();
        assert_eq!((difference.of, difference.standard_error), (difference.against, 0.0));
        assert_eq!(means(&normal, &normal).unwrap().standard_error, 0.0);
        assert!(areas(Ranked { normal: &[1.0], anomalous: &anomalous }, ranked).is_none());
    }

    #[test]
    fn the_error_is_what_repetition_shows() {
        // Two models see the same frames with noise of their own; 400 draws of 60 normal and 40 anomalous frames.
        let (mut differences, mut errors) = (Vec::new(), Vec::new());
        for draw in 0..400 {
            let values = normals(300, 1000 + draw);
            let score = |model: usize, frame: usize| values[frame] + 0.7 * values[100 + 100 * model + frame];
            let of = |model: usize| {
                let normal: Vec<f64> = (0..60).map(|frame| score(model, frame)).collect();
                let anomalous: Vec<Vec<f64>> = (60..100).map(|frame| vec![score(model, frame) + 1.0]).collect();
                (normal, anomalous)
            };
            let (one, other) = (of(0), of(1));
            let found =
                areas(Ranked { normal: &one.0, anomalous: &one.1 }, Ranked { normal: &other.0, anomalous: &other.1 })
                    .unwrap();
            let flat: Vec<f64> = one.1.iter().flatten().copied().collect();
            assert!((found.of - auroc(&one.0, &flat).unwrap()).abs() < 1e-12);
            differences.push(found.of - found.against);
            errors.push(found.standard_error.powi(2));
        }
        let expected = (errors.iter().sum::<f64>() / errors.len() as f64).sqrt();
        let spread = deviation(&differences);
        assert!((spread / expected - 1.0).abs() < 0.12, "{spread} {expected}");
    }
}
