//! Fits the weights of a pipeline's model: one loop, any model.
