//! See inside CLIP on any GPU, without an ML framework.
//!
//! `lancet` runs CLIP on handwritten WGSL kernels through [`wgpu`] and performs *CLIP Surgery* on it (arXiv 2304.05653)
//! and its training-free relatives, so that a label lights up what it names. An [`Engine`] borrows or opens a device;
//! [`Weights`] is a memory-mapped safetensors file; [`Clip`] is the model on the device; [`Labels`] are embedded
//! texts; an [`Explainer`] binds them to a [`Method`] and turns images into heat maps.
//!
//! Letters in shapes, everywhere: B images, N patches (1 + N tokens, the class token first), C width, H heads,
//! D joint embedding width, L labels, T packed tokens. Row-major, slowest dimension first.
//!
//! ```no_run
//! use lancet::{Clip, Engine, Explainer, Image, Method, Templates, Weights};
//!
//! # async fn run(rgba: &[u8]) -> lancet::Result<()> {
//! let engine = Engine::new(Default::default()).await?;
//! let weights = Weights::open("weights/demo/open_clip_model.safetensors")?;
//! let clip = Clip::load(&engine, &weights, Default::default())?;
//! let labels = clip.labels(&["cat".into(), "tree".into()], &Templates::ensemble()).await?;
//! let mut explainer = Explainer::new(&clip, &labels, &Method::SURGERY)?;
//! let found = explainer.explain(&Image::new([640, 480], rgba)?, [96, 96]).await?;
//! println!("{} is strongest at {:?}", found.labels[0].label, found.labels[0].peak);
//! # Ok(())
//! # }
//! ```
//!
//! Hosts with a device of their own plan once and record into their encoders: [`Engine::from_device`],
//! [`Explainer::plan`], [`gpu::Plan::record`]. Nothing is submitted or waited for there, and results stay on the GPU.
//!
//! Natively, with the feature `hub`, models are fetched by name: `hub::Hub`.
//!
//! Not here: training, tokenizers other than CLIP's, command lines (the `lancet` program has those).

pub mod clip;
pub mod engine;
pub mod error;
pub mod eval;
pub mod explain;
pub mod gpu;
#[cfg(feature = "hub")]
pub mod hub;
pub mod ops;
pub mod reference;
pub mod shape;
pub mod weights;

pub use clip::{Clip, Image, ImageInput, Labels, LoadOptions, Precision, SourceKind, Templates};
pub use engine::{Engine, Options};
pub use error::{Error, Result};
pub use explain::{
    Classes, Explainer, Explanation, LabelMap, Method, Score, Scores, SegmentOptions, Segmentation, Segmenter, Sentence, Stream,
    StreamOptions,
};
pub use gpu::{Plan, Source, Tensor};
pub use weights::Weights;
/// The wgpu that lancet is built with; hosts need the same version.
pub use wgpu;
