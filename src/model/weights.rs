//! Weights on disk: safetensors, the same bytes for the same weights and metadata.

use std::collections::HashMap;
use std::path::Path;

use safetensors::{Dtype, SafeTensors};
use serde_json::{Map, Value, json};

use super::network::Network;
use crate::error::{Failure, Kind, Result};

/// Every parameter of a network in one vector, laid out as on disk.
#[derive(Debug, Clone, PartialEq)]
pub struct Weights(pub(super) Vec<f32>);

/// Writes the weights. The header's keys are sorted, which `safetensors` does not do for metadata.
pub(super) fn save(path: &Path, network: &Network, weights: &[f32], metadata: HashMap<String, String>) -> Result<()> {
    let mut metadata: Vec<_> = metadata.into_iter().map(|(key, value)| (key, Value::from(value))).collect();
    metadata.sort_by(|a, b| a.0.cmp(&b.0));
    let mut header = Map::new();
    header.insert("__metadata__".into(), metadata.into_iter().collect::<Map<_, _>>().into());
    for parameter in &network.parameters {
        let range = parameter.range();
        let offsets = [range.start * 4, range.end * 4];
        header.insert(
            parameter.name.clone(),
            json!({ "dtype": "F32", "shape": parameter.shape, "data_offsets": offsets }),
        );
    }
    let mut text = Value::from(header).to_string();
    // The data start on a multiple of 8 bytes, as the format asks for.
    text.extend(std::iter::repeat_n(' ', text.len().next_multiple_of(8) - text.len()));
    let mut bytes = (text.len() as u64).to_le_bytes().to_vec();
    bytes.extend(text.as_bytes());
    bytes.extend(weights.iter().flat_map(|value| value.to_le_bytes()));
    std::fs::write(path, bytes).map_err(|error| Failure::io(path, error))
}

/// What a weights file says under a key; `None` where it says nothing.
pub(super) fn metadata(path: &Path, key: &str) -> Result<Option<String>> {
    let refuse = |reason: String| Failure::new(Kind::Model, format!("{}: {reason}", path.display()));
    let bytes = std::fs::read(path).map_err(|error| refuse(format!("cannot be read: {error}")))?;
    let (_, header) =
        SafeTensors::read_metadata(&bytes).map_err(|error| refuse(format!("is no safetensors file: {error}")))?;
    Ok(header.metadata().as_ref().and_then(|metadata| metadata.get(key).cloned()))
}

/// Reads weights written by [`save`], and refuses those of another network.
pub(super) fn load(path: &Path, network: &Network) -> Result<Vec<f32>> {
    let refuse = |reason: String| Failure::new(Kind::Model, format!("{}: {reason}", path.display()));
    let bytes = std::fs::read(path).map_err(|error| refuse(format!("cannot be read: {error}")))?;
    let tensors =
        SafeTensors::deserialize(&bytes).map_err(|error| refuse(format!("is no safetensors file: {error}")))?;
    let hint = "the pipeline's model or input section changed since training: restore it, or train again";
    let mut weights = Vec::with_capacity(network.len());
    for parameter in &network.parameters {
        let name = &parameter.name;
        let tensor = tensors
            .tensor(name)
            .map_err(|_| refuse(format!("tensor {name} of shape {:?} is missing", parameter.shape)).hint(hint))?;
        if tensor.shape() != parameter.shape || tensor.dtype() != Dtype::F32 {
            let (shape, dtype) = (tensor.shape(), tensor.dtype());
            let wanted = &parameter.shape;
            return Err(
                refuse(format!("tensor {name} is {dtype:?} {shape:?}, the pipeline needs F32 {wanted:?}")).hint(hint)
            );
        }
        let values = tensor.data().as_chunks::<4>().0.iter().map(|four| f32::from_le_bytes(*four));
        weights.extend(values);
        if !weights.iter().rev().take(parameter.len()).all(|value| value.is_finite()) {
            return Err(refuse(format!("tensor {name} holds a value that is not finite")));
        }
    }
    match tensors.names().iter().find(|name| network.parameters.iter().all(|parameter| parameter.name != **name)) {
        Some(name) => Err(refuse(format!("tensor {name} has no place in the pipeline's model")).hint(hint)),
        None => Ok(weights),
    }
}
