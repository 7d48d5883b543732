//! The one error type: every message says what, where, expected, got, and what to do.

use std::path::PathBuf;

/// `Result` with lancet's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Everything that can go wrong. Nothing a user, file or driver controls panics.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    // ---- adapters and devices ----
    /// No adapter answers the request.
    #[error(
        "no usable GPU adapter{wanted} (found: {found}); install a Vulkan driver (Debian/Ubuntu without a GPU: apt-get install mesa-vulkan-drivers libvulkan1) or choose another with --adapter or LANCET_ADAPTER"
    )]
    NoAdapter {
        /// What was asked for, as ` matching "..."`, or empty.
        wanted: String,
        /// Names of the adapters that exist.
        found: String,
    },
    /// The driver refused to open a device.
    #[error("adapter {adapter}: cannot open a device: {message}")]
    Device {
        /// Adapter name.
        adapter: String,
        /// The driver's words.
        message: String,
    },
    /// A limit of the device is too small for this plan.
    #[error("{what} needs {limit} of {need}, this device allows {have}; {hint}")]
    DeviceTooSmall {
        /// The tensor or step.
        what: String,
        /// Name of the WebGPU limit.
        limit: &'static str,
        /// Value needed.
        need: u64,
        /// Value the device has.
        have: u64,
        /// What would fit.
        hint: String,
    },
    /// The device ran out of memory.
    #[error("{what}: the device is out of memory; use a smaller --size, fewer labels, a smaller batch or f16 storage")]
    OutOfMemory {
        /// What was being allocated.
        what: String,
    },
    /// The device went away (driver reset, unplugged, background tab).
    #[error("the GPU device was lost during {what}; make a new Engine and build the plan again, weights can be kept")]
    DeviceLost {
        /// What was being done.
        what: String,
    },
    /// The driver or wgpu rejected a call. A bug in lancet unless the device is the host's.
    #[error("{what}: rejected by the GPU layer: {message}")]
    Gpu {
        /// What was being done.
        what: String,
        /// wgpu's words.
        message: String,
    },

    /// A table of tuned kernels that cannot be used.
    #[error("tuned kernels {path}: {what}; run lancet tune --write again, or delete the file")]
    Tuning {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where.
        what: String,
    },

    // ---- shapes ----
    /// Tensors that do not fit together.
    #[error("{op}: {what} is {got}, expected {expected}")]
    Shape {
        /// The op, as in its WGSL file name.
        op: &'static str,
        /// Which argument.
        what: &'static str,
        /// What the op needs.
        expected: String,
        /// What it was given.
        got: String,
    },

    // ---- weights and configs ----
    /// A file that is not a safetensors file, or a damaged one.
    #[error("{path}: not a usable safetensors file: {message}")]
    Safetensors {
        /// The file.
        path: PathBuf,
        /// Why.
        message: String,
    },
    /// A tensor the model needs is not there.
    #[error("weights: tensor \"{name}\" is missing ({hint})")]
    MissingTensor {
        /// Tensor name in the file's layout.
        name: String,
        /// What to check.
        hint: String,
    },
    /// A tensor the model does not know.
    #[error("weights: {count} tensor(s) that this model does not have, first \"{name}\" ({hint})")]
    UnexpectedTensor {
        /// How many.
        count: usize,
        /// The first in name order.
        name: String,
        /// What to check.
        hint: String,
    },
    /// A tensor of the wrong shape.
    #[error("weights: \"{name}\" has shape {got}, expected {expected} ({hint})")]
    TensorShape {
        /// Tensor name in the file's layout.
        name: String,
        /// What the config says.
        expected: String,
        /// What the file holds.
        got: String,
        /// What to check.
        hint: String,
    },
    /// A tensor of an element type that lancet does not read.
    #[error("weights: \"{name}\" has element type {got}, expected F32, F16 or BF16")]
    TensorType {
        /// Tensor name.
        name: String,
        /// Its element type.
        got: String,
    },
    /// NaN or infinity in the weights.
    #[error("weights: \"{name}\" holds {value} at element {index}; the file is damaged or the training diverged")]
    WeightNotFinite {
        /// Tensor name.
        name: String,
        /// Flat index of the first bad element.
        index: usize,
        /// Its value.
        value: f32,
    },
    /// A config that is missing, contradictory, or not supported.
    #[error("model config {path}: {what}")]
    Config {
        /// The config, or the weights file it should lie beside.
        path: String,
        /// What is wrong and what to do.
        what: String,
    },
    /// A name that no model has.
    #[error(
        "unknown model \"{name}\": not a file or folder; expected a .safetensors file, a folder with one, hf:ORGANISATION/NAME, or a name (nearest first): {known}"
    )]
    UnknownModel {
        /// What was asked for.
        name: String,
        /// Names that exist.
        known: String,
    },

    /// A model hub or its cache does not deliver.
    #[error("{what}")]
    Hub {
        /// Which file of which repository, what is wrong and what to do.
        what: String,
    },

    // ---- text ----
    /// The tokenizer file cannot be used.
    #[error("tokenizer: {what}")]
    Tokenizer {
        /// What is wrong.
        what: String,
    },
    /// A text longer than the model's context.
    #[error("text \"{text}\" has {tokens} tokens, the model reads {context}; shorten it or pass --truncate")]
    TextTooLong {
        /// The text.
        text: String,
        /// Its tokens, markers included.
        tokens: usize,
        /// What the model reads.
        context: usize,
    },

    // ---- images, methods, results ----
    /// An image file that cannot be used.
    #[error("image {path}: {what}")]
    Image {
        /// The file.
        path: PathBuf,
        /// What is wrong and what to do.
        what: String,
    },
    /// An input that makes no sense (no labels, wrong source size ...).
    #[error("{what}")]
    Input {
        /// What is wrong and what to do.
        what: String,
    },
    /// A method that cannot be used this way, or an unknown one.
    #[error("method {name}: {what}")]
    Method {
        /// The method.
        name: String,
        /// What is wrong and what to do.
        what: String,
    },
    /// NaN or infinity in a result.
    #[error("{what} holds {value} at element {index}; the weights do not fit the model, or half storage overflowed: try --precision f32")]
    ResultNotFinite {
        /// Which result.
        what: String,
        /// Flat index.
        index: usize,
        /// Its value.
        value: f32,
    },
    /// The file system said no.
    #[error("{path}: {reason}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The system's words; in the message already, so not a `source` that chains would print again.
        reason: std::io::Error,
    },
}

impl Error {
    /// Shorthand for [`Error::Shape`].
    pub(crate) fn shape(op: &'static str, what: &'static str, expected: impl std::fmt::Display, got: impl std::fmt::Display) -> Error {
        Error::Shape { op, what, expected: expected.to_string(), got: got.to_string() }
    }

    /// Shorthand for [`Error::Io`].
    pub(crate) fn io(path: impl Into<PathBuf>, reason: std::io::Error) -> Error {
        Error::Io { path: path.into(), reason }
    }
}
