//! The host: a device of its own, pictures, and helpers to run a plan and to read what it left.

use crate::common::Random;
use lancet::explain::ExplainOutputs;
use lancet::gpu::{Plan, Source, Tensor};
use lancet::{Clip, Engine, Explainer, ImageInput, Labels, Method, Options, SourceKind, Templates, Weights, wgpu};
use std::path::PathBuf;
use std::sync::{OnceLock, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// Most tests share this device: drivers dislike many.
pub fn shared() -> &'static Host {
    static HOST: OnceLock<Host> = OnceLock::new();
    HOST.get_or_init(Host::new)
}

/// Tests run side by side, except those that measure the process: every test takes a turn of either kind.
static TURNS: RwLock<()> = RwLock::new(());

pub fn beside_others() -> RwLockReadGuard<'static, ()> {
    TURNS.read().expect("a turn")
}

pub fn alone() -> RwLockWriteGuard<'static, ()> {
    TURNS.write().expect("a turn; a test that runs alone failed")
}

// ---------------------------------------------------------------- model

pub fn demo(file: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("weights/demo").join(file)
}

pub fn weights() -> Weights {
    Weights::open(demo("open_clip_model.safetensors")).expect("the bundled model")
}

/// Three labels; embedded once for all devices, because they live on the CPU.
pub fn labels() -> &'static Labels {
    static LABELS: OnceLock<Labels> = OnceLock::new();
    LABELS.get_or_init(|| {
        let names = ["house", "tree", "teddy bear"].map(String::from);
        pollster::block_on(shared().clip.labels(&names, &Templates::bare())).expect("embedding labels")
    })
}

/// A program with a GPU device that lancet borrows.
pub struct Host {
    pub device: wgpu::Device,
    pub queue: wgpu::Queue,
    pub clip: Clip,
}

impl Host {
    pub fn new() -> Host {
        let (device, queue) = open_device();
        let clip = borrow(&device, &queue, &weights());
        Host { device, queue, clip }
    }

    pub fn explainer(&self) -> Explainer {
        Explainer::new(&self.clip, labels(), &Method::SURGERY).expect("an explainer")
    }

    /// A plan with heat maps of the size of the images.
    pub fn plan(&self, input: &ImageInput) -> Plan<ExplainOutputs> {
        self.explainer().plan(input, input.size, false).expect("planning")
    }

    pub fn encoder(&self) -> wgpu::CommandEncoder {
        self.device.create_command_encoder(&wgpu::CommandEncoderDescriptor { label: Some("host") })
    }

    pub fn submit(&self, encoder: wgpu::CommandEncoder) {
        self.queue.submit([encoder.finish()]);
        self.wait();
    }

    pub fn wait(&self) {
        self.device.poll(wgpu::PollType::wait_indefinitely()).expect("waiting for the device");
    }

    /// The number of this submit on the queue, which wgpu counts from 1. It tells only through `Debug`.
    pub fn submit_number(&self) -> u64 {
        let index = format!("{:?}", self.queue.submit([]));
        index.chars().filter(char::is_ascii_digit).collect::<String>().parse().unwrap_or_else(|_| panic!("no number in {index}"))
    }

    /// Packed pixels as a source.
    pub fn buffer(&self, rgba: &[u8]) -> wgpu::Buffer {
        self.buffer_of(rgba.len() as u64, wgpu::BufferUsages::STORAGE, rgba)
    }

    pub fn buffer_of(&self, size: u64, usage: wgpu::BufferUsages, contents: &[u8]) -> wgpu::Buffer {
        let usage = usage | wgpu::BufferUsages::COPY_DST;
        let buffer = self.device.create_buffer(&wgpu::BufferDescriptor { label: Some("host"), size, usage, mapped_at_creation: false });
        self.queue.write_buffer(&buffer, 0, contents);
        buffer
    }

    /// A texture with these pixels as a source.
    pub fn texture(&self, [width, height]: [u32; 2], format: wgpu::TextureFormat, rgba: &[u8]) -> wgpu::TextureView {
        let texture = self.device.create_texture(&wgpu::TextureDescriptor {
            label: Some("host"),
            size: wgpu::Extent3d { width, height, depth_or_array_layers: 1 },
            mip_level_count: 1,
            sample_count: 1,
            dimension: wgpu::TextureDimension::D2,
            format,
            usage: wgpu::TextureUsages::TEXTURE_BINDING | wgpu::TextureUsages::COPY_DST,
            view_formats: &[],
        });
        let layout = wgpu::TexelCopyBufferLayout { offset: 0, bytes_per_row: Some(4 * width), rows_per_image: None };
        self.queue.write_texture(texture.as_image_copy(), rgba, layout, texture.size());
        texture.create_view(&wgpu::TextureViewDescriptor::default())
    }

    /// Records, submits, waits and reads.
    pub fn run(&self, plan: &mut Plan<ExplainOutputs>, source: Source<'_>) -> Maps {
        let mut encoder = self.encoder();
        plan.record(&mut encoder, source).expect("recording");
        self.submit(encoder);
        self.read(plan.outputs())
    }

    /// What the last submitted run left.
    pub fn read(&self, outputs: &ExplainOutputs) -> Maps {
        let s = &outputs.scores;
        Maps([&s.cosines, &s.scores, &s.maps, &outputs.heatmaps].map(|t| self.floats(t)))
    }

    pub fn floats(&self, tensor: &Tensor) -> Vec<f32> {
        let mut encoder = self.encoder();
        let pending = tensor.read(self.clip.gpu(), &mut encoder).expect("reading back");
        self.submit(encoder);
        pollster::block_on(pending.floats()).expect("reading back")
    }

    /// RGBA of a texture whose rows are a multiple of 256 bytes.
    pub fn texels(&self, view: &wgpu::TextureView) -> Vec<u8> {
        let texture = view.texture();
        let row = 4 * texture.width();
        assert_eq!(row % wgpu::COPY_BYTES_PER_ROW_ALIGNMENT, 0, "choose a width of a multiple of 64");
        let size = u64::from(row * texture.height());
        let buffer = self.buffer_of(size, wgpu::BufferUsages::MAP_READ, &[]);
        let layout = wgpu::TexelCopyBufferLayout { offset: 0, bytes_per_row: Some(row), rows_per_image: None };
        let mut encoder = self.encoder();
        encoder.copy_texture_to_buffer(texture.as_image_copy(), wgpu::TexelCopyBufferInfo { buffer: &buffer, layout }, texture.size());
        encoder.map_buffer_on_submit(&buffer, wgpu::MapMode::Read, .., |result| result.expect("mapping"));
        self.submit(encoder);
        buffer.get_mapped_range(..).expect("mapped").to_vec()
    }
}

/// WebGPU's default limits, no feature, on the adapter that `LANCET_ADAPTER` chooses.
pub fn open_device() -> (wgpu::Device, wgpu::Queue) {
    let engine = pollster::block_on(Engine::new(Options { portable: true, ..Options::default() })).unwrap_or_else(|e| {
        panic!("these tests need a Vulkan, Metal or DX12 adapter, a software one is enough; tools/test sees to it: {e}")
    });
    let (device, queue) = (engine.gpu().device.clone(), engine.gpu().queue.clone());
    assert!(device.features().is_empty(), "the weakest host has no feature: {:?}", device.features());
    let (have, default) = (device.limits(), wgpu::Limits::default());
    assert_eq!(have.max_storage_buffer_binding_size, default.max_storage_buffer_binding_size);
    assert_eq!(have.max_storage_buffers_per_shader_stage, default.max_storage_buffers_per_shader_stage);
    assert_eq!(have.max_compute_workgroup_storage_size, default.max_compute_workgroup_storage_size);
    (device, queue)
}

/// The bundled model on a host's device.
pub fn borrow(device: &wgpu::Device, queue: &wgpu::Queue, weights: &Weights) -> Clip {
    let engine = Engine::from_device(device, queue, Options::default()).expect("default limits are enough");
    Clip::load(&engine, weights, Default::default()).expect("loading the bundled model")
}

// ---------------------------------------------------------------- pictures and results

pub fn input(kind: SourceKind, images: u32, size: [u32; 2], model_size: [u32; 2]) -> ImageInput {
    ImageInput { kind, images, size, model_size }
}

/// Four by four patches of colour with some texture, opaque.
pub fn picture([width, height]: [u32; 2], seed: u64) -> Vec<u8> {
    let colours = Random::new(seed).bytes(16 * 3);
    let pixel = |x: u32, y: u32| {
        let cell = 3 * (4 * (4 * y / height) + 4 * x / width) as usize;
        let shade = |c: usize| colours[cell + c].wrapping_add((7 * x + 13 * y) as u8 % 24);
        [shade(0), shade(1), shade(2), 255]
    };
    (0..height).flat_map(|y| (0..width).flat_map(move |x| pixel(x, y))).collect()
}

/// Cosines, scores, maps of the grid, heat maps.
#[derive(Clone, Debug)]
pub struct Maps(pub [Vec<f32>; 4]);

impl Maps {
    pub fn heatmaps(&self) -> &[f32] {
        &self.0[3]
    }

    /// Image `i` of `count`.
    pub fn image(&self, i: usize, count: usize) -> Maps {
        Maps(self.0.each_ref().map(|v| v[i * v.len() / count..(i + 1) * v.len() / count].to_vec()))
    }

    pub fn differs(&self, other: &Maps) -> bool {
        self.0.iter().zip(&other.0).any(|(a, b)| bits(a) != bits(b))
    }

    /// Finite, maps in 0..1 and not flat: two runs that both left zeros are not "the same".
    #[track_caller]
    pub fn check(&self) {
        assert!(self.0.iter().flatten().all(|v| v.is_finite()), "NaN or infinity in a result");
        for maps in &self.0[2..] {
            assert!(maps.iter().all(|v| (0.0..=1.0).contains(v)), "a map leaves 0..1");
            assert!(maps.contains(&0.0) || maps.iter().any(|&v| v < 0.2), "maps without a low end");
            assert!(maps.iter().any(|&v| v > 0.8), "maps without a high end");
        }
    }
}

fn bits(v: &[f32]) -> Vec<u32> {
    v.iter().map(|v| v.to_bits()).collect()
}

#[track_caller]
pub fn assert_same(what: &str, got: &Maps, want: &Maps) {
    got.check();
    for ((name, got), want) in ["cosines", "scores", "maps", "heatmaps"].iter().zip(&got.0).zip(&want.0) {
        assert_eq!(got.len(), want.len(), "{what}: number of {name}");
        if let Some(i) = (0..got.len()).find(|&i| got[i].to_bits() != want[i].to_bits()) {
            let off = bits(got).iter().zip(bits(want)).filter(|(g, w)| **g != *w).count();
            panic!("{what}: {off} of {} {name} differ, first at {i}: {} and {}", got.len(), got[i], want[i]);
        }
    }
}
