//! Kernels, tensors and plans on a wgpu device. Knows no model and no op.

pub mod arena;
pub mod caps;
pub mod context;
pub mod kernel;
pub mod plan;
pub mod profile;
pub mod readback;
pub mod tensor;

pub use caps::Caps;
pub use context::Gpu;
pub use plan::{Memory, Plan, PlanBuilder, Source, Step, Value};
pub use profile::{Clock, Profile, Timing};
pub use readback::Readback;
pub use tensor::Tensor;
