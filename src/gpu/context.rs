//! A device with its queue, capabilities and pipelines, shared by everything made from one engine.

use crate::error::{Error, Result};
use crate::gpu::binding::Source;
use crate::gpu::caps::Caps;
use crate::gpu::created::{Counters, Created};
use crate::gpu::kernel::Pipelines;
use crate::gpu::plan::Plan;
use crate::gpu::tensor::Tensor;
use crate::gpu::tuning::{Rule, Tuned};
use crate::shape::{DType, Shape};

/// Bytes written per submit while uploading, so that staging memory stays small however large the weights are.
const UPLOAD_CHUNK: usize = 8 << 20;

/// A device (its own or the host's), what it can do, and the kernels compiled on it.
#[derive(Debug)]
pub struct Gpu {
    /// The device.
    pub device: wgpu::Device,
    /// Its queue.
    pub queue: wgpu::Queue,
    /// What it can do.
    pub caps: Caps,
    /// Which kernels run for which shapes, before lancet's own tables are asked.
    pub tuned: Vec<Rule>,
    pub(crate) pipelines: Pipelines,
    pub(crate) made: Counters,
}

impl Gpu {
    pub(crate) fn new(device: wgpu::Device, queue: wgpu::Queue, caps: Caps, tuned: Tuned, pipelines: Pipelines) -> Result<Gpu> {
        let tuned = tuned.rules(&caps)?;
        Ok(Gpu { device, queue, caps, tuned, pipelines, made: Counters::default() })
    }

    /// Number of pipelines compiled so far.
    pub fn pipeline_count(&self) -> usize {
        self.pipelines.count()
    }

    /// What was made on the device so far by everything that shares it.
    pub fn created(&self) -> Created {
        self.made.read()
    }

    /// A buffer for storage bindings and copies.
    pub(crate) fn buffer(&self, label: &str, bytes: u64) -> Result<wgpu::Buffer> {
        self.caps.check_binding(label, bytes)?;
        refuse_lost(&self.device, label)?;
        checked(
            &self.device,
            || format!("allocating {label} ({bytes} bytes)"),
            || {
                self.made.buffers.count(self.device.create_buffer(&wgpu::BufferDescriptor {
                    label: Some(label),
                    size: bytes.next_multiple_of(4),
                    usage: wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST,
                    mapped_at_creation: false,
                }))
            },
        )
    }

    /// A texture that `overlay_texture` draws into and a host can sample or copy.
    pub(crate) fn overlay_texture(&self, [width, height]: [u32; 2]) -> Result<wgpu::TextureView> {
        checked(
            &self.device,
            || format!("allocating a {width}x{height} texture"),
            || {
                let texture = self.device.create_texture(&wgpu::TextureDescriptor {
                    label: Some("lancet.overlay"),
                    size: wgpu::Extent3d { width, height, depth_or_array_layers: 1 },
                    mip_level_count: 1,
                    sample_count: 1,
                    dimension: wgpu::TextureDimension::D2,
                    format: wgpu::TextureFormat::Rgba8Unorm,
                    usage: wgpu::TextureUsages::STORAGE_BINDING | wgpu::TextureUsages::TEXTURE_BINDING | wgpu::TextureUsages::COPY_SRC,
                    view_formats: &[],
                });
                self.made.textures.count(texture).create_view(&wgpu::TextureViewDescriptor::default())
            },
        )
    }

    /// A tensor with contents, uploaded in chunks. `fill(offset, chunk)` writes the bytes from `offset` on.
    pub(crate) fn upload_with(
        &self,
        label: &str,
        shape: Shape,
        dtype: DType,
        mut fill: impl FnMut(usize, &mut [u8]) -> Result<()>,
    ) -> Result<Tensor> {
        let bytes = shape.elements() * dtype.bytes();
        let buffer = self.buffer(label, bytes)?;
        let size = buffer.size() as usize;
        let mut chunk = vec![0u8; size.min(UPLOAD_CHUNK)];
        for offset in (0..size).step_by(UPLOAD_CHUNK) {
            let end = (offset + UPLOAD_CHUNK).min(size);
            let filled = (bytes as usize).min(end);
            chunk[filled - offset..end - offset].fill(0);
            fill(offset, &mut chunk[..filled - offset])?;
            self.queue.write_buffer(&buffer, offset as u64, &chunk[..end - offset]);
            if size > UPLOAD_CHUNK {
                // Frees the staging copy of this chunk before the next one is made.
                self.queue.submit([]);
                self.wait(label)?;
            }
        }
        Ok(Tensor::new(buffer, shape, dtype))
    }

    /// A tensor with these contents.
    ///
    /// # Errors
    /// Too large for one binding, out of memory, or `data` of another size than `shape` and `dtype` say.
    pub fn upload<T: bytemuck::NoUninit>(&self, label: &str, shape: &[u32], dtype: DType, data: &[T]) -> Result<Tensor> {
        let shape = Shape::new(shape)?;
        let data: &[u8] = bytemuck::cast_slice(data);
        let bytes = shape.elements() * dtype.bytes();
        if data.len() as u64 != bytes {
            return Err(Error::shape("upload", "number of bytes", bytes, data.len()));
        }
        self.upload_with(label, shape, dtype, |offset, chunk| {
            chunk.copy_from_slice(&data[offset..offset + chunk.len()]);
            Ok(())
        })
    }

    /// Runs a plan with one output and reads it: submits and waits.
    ///
    /// # Errors
    /// A wrong source, or the device fails.
    pub async fn run(&self, plan: &mut Plan<Tensor>, source: Source<'_>) -> Result<Vec<f32>> {
        let mut encoder = self.device.create_command_encoder(&wgpu::CommandEncoderDescriptor { label: Some("lancet.run") });
        let output = plan.record(&mut encoder, source)?.clone();
        let pending = output.read(self, &mut encoder)?;
        self.submit(encoder)?;
        pending.floats().await
    }

    /// Submits an encoder and, natively, waits for it: readbacks recorded in it are ready then.
    ///
    /// # Errors
    /// The device fails.
    pub fn submit(&self, encoder: wgpu::CommandEncoder) -> Result<()> {
        self.queue.submit([encoder.finish()]);
        self.wait("a run")
    }

    /// Blocks until this submit is done, while later ones run on. On the web this returns at once.
    pub(crate) fn wait_for(&self, submit: wgpu::SubmissionIndex) -> Result<()> {
        match self.device.poll(wgpu::PollType::Wait { submission_index: Some(submit), timeout: None }) {
            Ok(_) => Ok(()),
            // A lost device takes no submits, and then knows nothing of this one.
            Err(_) if is_lost(&self.device) => Err(Error::DeviceLost { what: "a run".into() }),
            Err(e) => Err(Error::Gpu { what: "a run".into(), message: e.to_string() }),
        }
    }

    /// Blocks until everything submitted is done. On the web this returns at once: await the readback instead.
    pub(crate) fn wait(&self, what: &str) -> Result<()> {
        match self.device.poll(wgpu::PollType::wait_indefinitely()) {
            Ok(_) => Ok(()),
            Err(e) => Err(Error::Gpu { what: what.to_owned(), message: e.to_string() }),
        }
    }
}

/// Runs wgpu calls under error scopes, so that what the driver refuses comes back as an error.
///
/// On the web an error scope cannot be waited for; there the device's own handler reports it.
pub(crate) fn checked<T>(device: &wgpu::Device, what: impl Fn() -> String, make: impl FnOnce() -> T) -> Result<T> {
    if cfg!(target_arch = "wasm32") {
        return Ok(make());
    }
    let memory = device.push_error_scope(wgpu::ErrorFilter::OutOfMemory);
    let validation = device.push_error_scope(wgpu::ErrorFilter::Validation);
    let internal = device.push_error_scope(wgpu::ErrorFilter::Internal);
    let made = make();
    let failure = [internal.pop(), validation.pop(), memory.pop()].map(pollster::block_on).into_iter().flatten().next();
    match failure {
        None => Ok(made),
        Some(wgpu::Error::OutOfMemory { .. }) => Err(Error::OutOfMemory { what: what() }),
        Some(_) if is_lost(device) => Err(Error::DeviceLost { what: what() }),
        Some(e) => Err(Error::Gpu { what: what(), message: e.to_string() }),
    }
}

/// An error if the device is lost. wgpu makes buffers on a lost device without a word, and reports their first use in a
/// queue to the host's handler, which by default panics: so ask before making one.
pub(crate) fn refuse_lost(device: &wgpu::Device, what: &str) -> Result<()> {
    if is_lost(device) { Err(Error::DeviceLost { what: what.to_owned() }) } else { Ok(()) }
}

/// There is no call that asks; but on a lost device a buffer that should be mapped at creation is not.
fn is_lost(device: &wgpu::Device) -> bool {
    // An allocation that fails for another reason is for the caller to find.
    let memory = device.push_error_scope(wgpu::ErrorFilter::OutOfMemory);
    let usage = wgpu::BufferUsages::COPY_SRC;
    let probe = device.create_buffer(&wgpu::BufferDescriptor { label: Some("lancet.probe"), size: 4, usage, mapped_at_creation: true });
    let mapped = probe.get_mapped_range(..).is_ok();
    let full = !cfg!(target_arch = "wasm32") && pollster::block_on(memory.pop()).is_some();
    !mapped && !full
}
