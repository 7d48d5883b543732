//! Kernels, tensors and plans on a wgpu device. Knows no model and no op.

pub mod arena;
pub(crate) mod binding;
pub(crate) mod builder;
pub mod busy;
pub mod caps;
pub mod context;
pub mod created;
pub mod kernel;
pub(crate) mod pipeline_file;
pub mod plan;
pub mod profile;
pub mod readback;
pub mod tensor;
pub mod tuning;

pub use binding::Source;
pub use builder::{PlanBuilder, Resolved, Value};
pub use busy::BusyClock;
pub use caps::Caps;
pub use context::Gpu;
pub use created::Created;
pub use plan::{EVERYBODY, Memory, Plan, Step};
pub use profile::{Clock, Profile, Timing};
pub use readback::Readback;
pub use tensor::Tensor;
pub use tuning::Tuned;
