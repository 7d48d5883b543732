//! What the steps of a plan bind: slots, weights, targets, and the host's image.

use crate::error::{Error, Result};
use crate::gpu::context::{Gpu, checked};
use crate::gpu::kernel::Pipeline;
use crate::gpu::tensor::Tensor;

/// What the host hands to [`crate::gpu::Plan::record`].
#[derive(Clone, Copy, Debug)]
pub enum Source<'a> {
    /// The plan reads nothing from the host.
    None,
    /// Packed RGBA8 pixels `[B, H, W]`, red in the low byte, at the start of a buffer with usage `STORAGE`.
    Rgba8(&'a wgpu::Buffer),
    /// One texture view per image, usage `TEXTURE_BINDING`, of a texture whose format is not sRGB: CLIP wants the encoded
    /// values. The host's own views of it may be sRGB.
    Textures(&'a [wgpu::TextureView]),
}

/// What a binding after the parameters holds.
#[derive(Clone, Debug)]
pub(super) enum Operand {
    Buffer(Tensor),
    Target(wgpu::TextureView),
    /// The image at the start of the host's buffer: its bytes.
    SourceBuffer(u64),
    SourceTexture(usize),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum SourceKind {
    None,
    Rgba8 { bytes: u64 },
    Textures { count: usize, size: [u32; 2] },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum SourceIdentity {
    Buffer(wgpu::Buffer),
    Texture(wgpu::TextureView),
}

impl SourceKind {
    pub fn check(&self, source: Source<'_>) -> Result<Vec<SourceIdentity>> {
        let wrong = |got: String| Error::shape("record", "source", self.describe(), got);
        match (self, source) {
            (SourceKind::None, Source::None) => Ok(Vec::new()),
            (SourceKind::Rgba8 { bytes }, Source::Rgba8(buffer)) if buffer.size() >= *bytes => {
                Ok(vec![SourceIdentity::Buffer(buffer.clone())])
            }
            // A view does not tell its format, so its texture's counts.
            (SourceKind::Textures { .. }, Source::Textures(views)) if views.iter().any(|v| v.texture().format().is_srgb()) => {
                let formats: Vec<_> = views.iter().map(|v| v.texture().format()).collect();
                Err(wrong(format!(
                    "textures of format {formats:?}, whose sRGB decoding would change the pixels; use a format without Srgb"
                )))
            }
            (SourceKind::Textures { count, size }, Source::Textures(views))
                if views.len() == *count && views.iter().all(|v| [v.texture().width(), v.texture().height()] == *size) =>
            {
                Ok(views.iter().map(|v| SourceIdentity::Texture(v.clone())).collect())
            }
            (_, Source::None) => Err(wrong("nothing".into())),
            (_, Source::Rgba8(buffer)) => Err(wrong(format!("a buffer of {} bytes", buffer.size()))),
            (_, Source::Textures(views)) => {
                let sizes: Vec<_> = views.iter().map(|v| format!("{}x{}", v.texture().width(), v.texture().height())).collect();
                Err(wrong(format!("textures of {sizes:?}")))
            }
        }
    }

    fn describe(&self) -> String {
        match self {
            SourceKind::None => "nothing".into(),
            SourceKind::Rgba8 { bytes } => format!("an RGBA8 buffer of at least {bytes} bytes"),
            SourceKind::Textures { count, size: [w, h] } => format!("{count} texture(s) of {w}x{h}"),
        }
    }
}

pub(super) fn bind(
    gpu: &Gpu,
    label: &str,
    pipeline: &Pipeline,
    (params, offset, bytes): (&wgpu::Buffer, u64, u64),
    operands: &[Operand],
    source: &[SourceIdentity],
) -> Result<wgpu::BindGroup> {
    let mut entries = vec![wgpu::BindGroupEntry {
        binding: 0,
        resource: wgpu::BindingResource::Buffer(wgpu::BufferBinding { buffer: params, offset, size: wgpu::BufferSize::new(bytes) }),
    }];
    for (i, operand) in operands.iter().enumerate() {
        let resource = match (operand, source) {
            (Operand::Buffer(tensor), _) => wgpu::BindingResource::Buffer(wgpu::BufferBinding {
                buffer: tensor.buffer(),
                offset: 0,
                size: wgpu::BufferSize::new(tensor.bytes()),
            }),
            (Operand::Target(view), _) => wgpu::BindingResource::TextureView(view),
            (Operand::SourceBuffer(bytes), [SourceIdentity::Buffer(buffer)]) => {
                wgpu::BindingResource::Buffer(wgpu::BufferBinding { buffer, offset: 0, size: wgpu::BufferSize::new(*bytes) })
            }
            (Operand::SourceTexture(n), all) => match all.get(*n) {
                Some(SourceIdentity::Texture(view)) => wgpu::BindingResource::TextureView(view),
                _ => return Err(Error::shape("record", "source", "a texture", "none")),
            },
            (Operand::SourceBuffer(_), _) => return Err(Error::shape("record", "source", "a buffer", "none")),
        };
        entries.push(wgpu::BindGroupEntry { binding: i as u32 + 1, resource });
    }
    checked(
        &gpu.device,
        || format!("binding {label}"),
        || {
            let descriptor = wgpu::BindGroupDescriptor { label: Some(label), layout: &pipeline.layout, entries: &entries };
            gpu.made.bind_groups.count(gpu.device.create_bind_group(&descriptor))
        },
    )
}
