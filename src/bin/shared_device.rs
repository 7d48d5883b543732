//! lancet inside another GPU program: on the program's device and queue, recorded into its encoder, results as textures.
//!
//! A host with a camera asks every frame where the model sees each label. It opens the device (the weakest that WebGPU
//! knows), owns the frame loop, and submits once a frame. lancet adds its dispatches to the host's encoder and neither
//! submits nor waits; neither image nor maps visit the CPU. After the last frame the host saves its screen, so that
//! there is something to look at: the camera on the left, the overlay of one label on the right.
//!
//! ```text
//! cargo run --release --bin shared_device [-- picture.png]      default: lancet-out/shared_device.png
//! ```

use lancet::gpu::Source;
use lancet::{Clip, Engine, Explainer, ImageInput, Method, SourceKind, Templates, Weights, wgpu};
use std::path::PathBuf;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

const FRAMES: u32 = 8;
const LABELS: [&str; 5] = ["house", "tree", "helicopter", "teddy bear", "basketball"];
/// Index into `LABELS`.
const SHOWN: usize = 3;

async fn run(out: PathBuf) -> Result<()> {
    // ---- The host as it was before lancet: a device, a queue, a camera texture, a screen to draw on.
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle());
    let adapter = instance.request_adapter(&wgpu::RequestAdapterOptions::default()).await?;
    // No feature and default limits are enough. A host that wants lancet at its fastest asks for `Engine::wants`.
    let (device, queue) = adapter.request_device(&wgpu::DeviceDescriptor::default()).await?;

    let scene = image::open("weights/demo/scene.png")?.to_rgba8();
    let (width, height) = scene.dimensions();
    // Not an sRGB format: CLIP was trained on encoded values, and an sRGB view would linearise them.
    let usage = wgpu::TextureUsages::TEXTURE_BINDING | wgpu::TextureUsages::COPY_DST | wgpu::TextureUsages::COPY_SRC;
    let camera = texture(&device, "camera", width, height, usage);
    let camera_view = camera.create_view(&wgpu::TextureViewDescriptor::default());
    let usage = wgpu::TextureUsages::RENDER_ATTACHMENT | wgpu::TextureUsages::COPY_DST | wgpu::TextureUsages::COPY_SRC;
    let screen = texture(&device, "screen", 2 * width, height, usage);
    let screen_view = screen.create_view(&wgpu::TextureViewDescriptor::default());

    // ---- Once: borrow the device, load the model, embed the labels, plan. These calls may submit uploads and wait.
    let engine = Engine::from_device(&device, &queue, Default::default())?;
    let clip = Clip::load(&engine, &Weights::open("weights/demo/open_clip_model.safetensors")?, Default::default())?;
    let labels = clip.labels(&LABELS.map(String::from), &Templates::ensemble()).await?;
    let input = ImageInput { kind: SourceKind::Textures, images: 1, size: [width, height], model_size: [96, 96] };
    let mut plan = Explainer::new(&clip, &labels, &Method::SURGERY)?.plan(&input, [width, height], true)?;
    // All pipelines are compiled and all memory is allocated now; the frame loop does neither.
    println!("{} dispatches a frame, {} KiB of buffers besides the weights", plan.steps().len(), plan.memory().activations >> 10);

    // ---- Every frame.
    for frame in 0..FRAMES {
        let picture = scrolled(&scene, 12 * frame);
        queue.write_texture(camera.as_image_copy(), &picture, rows_of(4 * width), camera.size());

        let mut encoder = device.create_command_encoder(&wgpu::CommandEncoderDescriptor { label: Some("frame") });
        // The host's own work before lancet's ...
        draw_background(&mut encoder, &screen_view);
        // ... lancet's, in one compute pass. A host short of time records a part per frame with `record_range` ...
        let found = plan.record(&mut encoder, Source::Textures(std::slice::from_ref(&camera_view)))?;
        // ... and the host's again, which may use the results at once: wgpu orders commands within an encoder. A renderer
        // would bind `found.overlays[SHOWN]` in a shader, or `found.heatmaps.buffer()`, f32 [labels, height, width].
        let overlay = found.overlays.get(SHOWN).ok_or("no overlay of that label")?.texture();
        encoder.copy_texture_to_texture(camera.as_image_copy(), screen.as_image_copy(), camera.size());
        let right = wgpu::Origin3d { x: width, y: 0, z: 0 };
        let right = wgpu::TexelCopyTextureInfo { origin: right, ..screen.as_image_copy() };
        encoder.copy_texture_to_texture(overlay.as_image_copy(), right, camera.size());
        // The one submit of the frame, and it is the host's. Nobody waits: the CPU is free for the next frame.
        queue.submit([encoder.finish()]);
    }

    // ---- Only for the reader of this example: bring the screen to the CPU.
    // Dropping lancet frees its buffers; the host's device, and the commands in flight, live on.
    drop((plan, clip, engine));
    let pixels = read_texture(&device, &queue, &screen).await?;
    if let Some(folder) = out.parent() {
        std::fs::create_dir_all(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    }
    let picture = image::RgbaImage::from_raw(2 * width, height, pixels).ok_or("a picture of another size")?;
    picture.save(&out).map_err(|e| format!("{}: {e}", out.display()))?;
    println!("{FRAMES} frames, {FRAMES} submits; camera and \"{}\" in {}", LABELS[SHOWN], out.display());
    Ok(())
}

/// What the camera sees: the scene, moved to the left by `pixels`, wrapped around.
fn scrolled(scene: &image::RgbaImage, pixels: u32) -> Vec<u8> {
    let row = 4 * scene.width() as usize;
    let mut moved = scene.as_raw().clone();
    moved.chunks_exact_mut(row).for_each(|r| r.rotate_left(4 * pixels as usize % row));
    moved
}

/// Stands for the host's renderer.
fn draw_background(encoder: &mut wgpu::CommandEncoder, screen: &wgpu::TextureView) {
    encoder.begin_render_pass(&wgpu::RenderPassDescriptor {
        label: Some("background"),
        color_attachments: &[Some(wgpu::RenderPassColorAttachment {
            view: screen,
            depth_slice: None,
            resolve_target: None,
            ops: wgpu::Operations { load: wgpu::LoadOp::Clear(wgpu::Color::BLACK), store: wgpu::StoreOp::Store },
        })],
        ..Default::default()
    });
}

fn texture(device: &wgpu::Device, label: &str, width: u32, height: u32, usage: wgpu::TextureUsages) -> wgpu::Texture {
    device.create_texture(&wgpu::TextureDescriptor {
        label: Some(label),
        size: wgpu::Extent3d { width, height, depth_or_array_layers: 1 },
        mip_level_count: 1,
        sample_count: 1,
        dimension: wgpu::TextureDimension::D2,
        format: wgpu::TextureFormat::Rgba8Unorm,
        usage,
        view_formats: &[],
    })
}

fn rows_of(bytes: u32) -> wgpu::TexelCopyBufferLayout {
    wgpu::TexelCopyBufferLayout { offset: 0, bytes_per_row: Some(bytes), rows_per_image: None }
}

/// A texture's pixels, rows without padding. Copies to a buffer want rows of a multiple of 256 bytes.
async fn read_texture(device: &wgpu::Device, queue: &wgpu::Queue, texture: &wgpu::Texture) -> Result<Vec<u8>> {
    let row = 4 * texture.width();
    let padded = row.next_multiple_of(wgpu::COPY_BYTES_PER_ROW_ALIGNMENT);
    let size = u64::from(padded) * u64::from(texture.height());
    let usage = wgpu::BufferUsages::COPY_DST | wgpu::BufferUsages::MAP_READ;
    let buffer = device.create_buffer(&wgpu::BufferDescriptor { label: Some("screenshot"), size, usage, mapped_at_creation: false });
    let mut encoder = device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
    let target = wgpu::TexelCopyBufferInfo { buffer: &buffer, layout: rows_of(padded) };
    encoder.copy_texture_to_buffer(texture.as_image_copy(), target, texture.size());
    let (sender, mapped) = futures_channel::oneshot::channel();
    encoder.map_buffer_on_submit(&buffer, wgpu::MapMode::Read, .., |result| drop(sender.send(result)));
    queue.submit([encoder.finish()]);
    device.poll(wgpu::PollType::wait_indefinitely())?;
    mapped.await??;
    let rows = buffer.get_mapped_range(..)?;
    Ok(rows.chunks_exact(padded as usize).flat_map(|r| &r[..row as usize]).copied().collect())
}

fn main() -> std::process::ExitCode {
    let out = std::env::args_os().nth(1).map_or_else(|| "lancet-out/shared_device.png".into(), PathBuf::from);
    if let Err(e) = pollster::block_on(run(out)) {
        eprintln!("shared_device: {e}");
        return std::process::ExitCode::FAILURE;
    }
    std::process::ExitCode::SUCCESS
}
