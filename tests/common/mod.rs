//! What the test files share: devices, fixed random data, running a plan of one output, comparing with the reference.
#![allow(dead_code, reason = "each test file is a crate of its own and uses a part of this")]

pub mod emulate;

use half::f16;
use lancet::engine::Emulation;
use lancet::gpu::kernel::{Kernel, Need};
use lancet::gpu::{Plan, PlanBuilder, Source, Tensor, Value};
use lancet::shape::DType;
use lancet::{Engine, Options, Result, wgpu};
use std::sync::OnceLock;

// ---------------------------------------------------------------- devices

/// A device that the kernels are tested on. One of each kind per process: drivers dislike many.
#[derive(Debug)]
pub struct Rig {
    /// In failures: `default` or `portable`.
    pub name: &'static str,
    /// The device.
    pub engine: Engine,
    /// Whether a kernel is tested on it, where an op has several.
    pub takes: fn(&Kernel) -> bool,
    /// Multiply-adds of a case that this device takes on.
    pub most: u64,
}

/// With everything the adapter offers.
pub fn default_rig() -> &'static Rig {
    static RIG: OnceLock<Rig> = OnceLock::new();
    RIG.get_or_init(|| open("default", Options::default()))
}

/// With WebGPU's default limits and no feature: the weakest host.
pub fn portable_rig() -> &'static Rig {
    static RIG: OnceLock<Rig> = OnceLock::new();
    RIG.get_or_init(|| open("portable", Options { portable: true, ..Options::default() }))
}

/// Both.
pub fn rigs() -> [&'static Rig; 2] {
    [default_rig(), portable_rig()]
}

/// Devices whose cooperative matrices are plain loops (`emulate`), with subgroups of 16, of 32, of 64 and of 128: kernels that the
/// machine at hand may lack compute there, slowly, by what is known of those matrices. Only such kernels are tested on them.
pub fn emulated_rigs() -> &'static [Rig] {
    static RIGS: OnceLock<[Rig; 4]> = OnceLock::new();
    RIGS.get_or_init(|| {
        let gpu = default_rig().engine.gpu();
        let make = |name, lanes, rewrite| {
            let emulation = Some(Emulation { rewrite, lanes });
            let options = Options { cooperative: emulate::matrices(), emulation, ..Options::default() };
            let engine = Engine::from_device(&gpu.device, &gpu.queue, options).expect("an engine on the same device");
            Rig { name, engine, takes: |k| k.need.is_some_and(Need::is_cooperative), most: 150_000 }
        };
        [
            make("emulated, 16 lanes", 16, emulate::rewrite::<16>),
            make("emulated, 32 lanes", 32, emulate::rewrite::<32>),
            make("emulated, 64 lanes", 64, emulate::rewrite::<64>),
            make("emulated, 128 lanes", 128, emulate::rewrite::<128>),
        ]
    })
}

/// A machine without an adapter fails here. It must: a test that ran nothing has not passed.
fn open(name: &'static str, options: Options) -> Rig {
    match pollster::block_on(Engine::new(options)) {
        Ok(engine) => Rig { name, engine, takes: |_| true, most: u64::MAX },
        Err(e) => panic!(
            "these tests run kernels and need a Vulkan, Metal or DX12 adapter: {e}\n\
             A software one is enough. Debian/Ubuntu: apt-get install mesa-vulkan-drivers libvulkan1 (Mesa lavapipe); \
             tools/test does it by itself."
        ),
    }
}

// ---------------------------------------------------------------- data

/// splitmix64: the same numbers on every machine.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// Another seed, other numbers.
    pub fn new(seed: u64) -> Random {
        Random(seed)
    }

    /// 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `end`.
    pub fn below(&mut self, end: u32) -> u32 {
        (self.bits() % u64::from(end)) as u32
    }

    /// Uniform in -scale .. scale, rounded to `dtype` already: the rounding of inputs is no error of a kernel.
    pub fn floats(&mut self, count: usize, scale: f32, dtype: DType) -> Vec<f32> {
        let one = |bits: u64| ((bits >> 40) as f32 / (1u64 << 23) as f32 - 1.0) * scale;
        (0..count).map(|_| rounded(one(self.bits()), dtype)).collect()
    }

    /// Rows of length one.
    pub fn units(&mut self, rows: usize, width: usize) -> Vec<f32> {
        lancet::reference::l2_normalize(&self.floats(rows * width, 1.0, DType::F32), width)
    }

    /// Bytes.
    pub fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| (self.bits() >> 56) as u8).collect()
    }
}

/// A value as `dtype` stores it.
pub fn rounded(v: f32, dtype: DType) -> f32 {
    if dtype == DType::F16 { f16::from_f32(v).to_f32() } else { v }
}

/// f32 data on a device, stored as `dtype`.
pub fn upload(rig: &Rig, dims: &[u32], dtype: DType, data: &[f32]) -> Tensor {
    let gpu = rig.engine.gpu();
    let made = match dtype {
        DType::F16 => gpu.upload("test", dims, dtype, &data.iter().map(|&v| f16::from_f32(v)).collect::<Vec<_>>()),
        _ => gpu.upload("test", dims, DType::F32, data),
    };
    made.expect("uploading test data")
}

/// Indices or packed pixels on a device.
pub fn upload_u32(rig: &Rig, dims: &[u32], data: &[u32]) -> Tensor {
    rig.engine.gpu().upload("test", dims, DType::U32, data).expect("uploading test data")
}

/// `[.., 4]` bytes as packed pixels.
pub fn packed(rgba: &[u8]) -> Vec<u32> {
    rgba.chunks_exact(4).map(|p| u32::from_le_bytes([p[0], p[1], p[2], p[3]])).collect()
}

// ---------------------------------------------------------------- running

/// What a plan of one output left.
#[derive(Clone, Debug, PartialEq)]
pub struct Output {
    /// Its dimensions.
    pub shape: Vec<u32>,
    /// Its memory, little endian.
    pub bytes: Vec<u8>,
    /// Its element type.
    pub dtype: DType,
    /// Kernels of the plan, in order.
    pub kernels: Vec<&'static str>,
}

impl Output {
    /// The elements as f32; halves are widened.
    pub fn floats(&self) -> Vec<f32> {
        match self.dtype {
            DType::F16 => bytemuck::pod_collect_to_vec::<u8, f16>(&self.bytes).into_iter().map(f16::to_f32).collect(),
            _ => bytemuck::pod_collect_to_vec(&self.bytes),
        }
    }

    /// The elements as u32.
    pub fn words(&self) -> Vec<u32> {
        bytemuck::pod_collect_to_vec(&self.bytes)
    }
}

/// Builds a plan whose output is one value.
pub fn plan(rig: &Rig, build: impl FnOnce(&mut PlanBuilder) -> Result<Value>) -> Plan<Tensor> {
    let mut b = PlanBuilder::new(rig.engine.gpu());
    let y = build(&mut b).expect("planning");
    b.keep(y);
    b.finish(|r| r.tensor(y)).expect("finishing the plan")
}

/// Runs a plan whose output is one value, over an output full of NaN (of a colour that no overlay makes, for pixels),
/// so that an element which no thread writes shows.
pub fn run(rig: &Rig, build: impl FnOnce(&mut PlanBuilder) -> Result<Value>) -> Output {
    run_from(rig, Source::None, build)
}

/// As [`run`], with an image of the host's.
pub fn run_from(rig: &Rig, source: Source<'_>, build: impl FnOnce(&mut PlanBuilder) -> Result<Value>) -> Output {
    let mut plan = plan(rig, build);
    poison(rig, plan.outputs());
    record_and_read(rig, &mut plan, source, 1).remove(0)
}

/// Fills a tensor with NaN or a transparent colour.
pub fn poison(rig: &Rig, tensor: &Tensor) {
    let byte = if tensor.dtype() == DType::U32 { 0x5a } else { 0xff };
    rig.engine.gpu().queue.write_buffer(tensor.buffer(), 0, &vec![byte; tensor.bytes() as usize]);
}

/// Records a plan `times` times into one encoder, reading the output behind each; one submit.
pub fn record_and_read(rig: &Rig, plan: &mut Plan<Tensor>, source: Source<'_>, times: usize) -> Vec<Output> {
    let gpu = rig.engine.gpu();
    let mut encoder = gpu.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
    let pending: Vec<_> = (0..times)
        .map(|_| {
            let tensor = plan.record(&mut encoder, source).expect("recording").clone();
            tensor.read(gpu, &mut encoder).expect("reading back")
        })
        .collect();
    gpu.queue.submit([encoder.finish()]);
    gpu.device.poll(wgpu::PollType::wait_indefinitely()).expect("waiting for the device");
    let tensor = plan.outputs();
    let kernels: Vec<_> = plan.steps().iter().map(|s| s.kernel).collect();
    let elements = tensor.shape().iter().product::<u32>() as usize * tensor.dtype().bytes() as usize;
    pending
        .into_iter()
        .map(|p| {
            let mut bytes = pollster::block_on(p.bytes()).expect("reading back");
            bytes.truncate(elements);
            Output { shape: tensor.shape().to_vec(), bytes, dtype: tensor.dtype(), kernels: kernels.clone() }
        })
        .collect()
}

// ---------------------------------------------------------------- comparing

/// How far a result may be off: `absolute + relative |expected|`.
#[derive(Clone, Copy, Debug)]
pub struct Tolerance {
    /// In the units of the result.
    pub absolute: f64,
    /// Share of the expected value.
    pub relative: f64,
}

/// A single-precision rounding is 6e-8 of a value; a formula of some ten operations and a division (2.5 units in the
/// last place in WGSL) stays within this.
pub const FEW_ROUNDINGS: Tolerance = Tolerance { absolute: 1e-6, relative: 1e-6 };

/// A half keeps 11 bits. WGSL lets a conversion round either way, so a stored result may be off by one unit in the last
/// place, 2^-10 of it; the absolute part is the spacing of subnormal halves, 2^-24.
const HALF_UNIT: Tolerance = Tolerance { absolute: 6e-8, relative: 1.0 / 1024.0 };

/// A sum of `terms` products, each about `scale` large, in f32 against f64: partial sums grow like sqrt(terms), and so
/// do their roundings. A kernel that sums in order was 1.2e-6 sqrt(terms) off with 768 terms, 3.1e-6 with 3,072.
pub fn sum_of(terms: usize, scale: f64) -> Tolerance {
    Tolerance { absolute: 4e-6 * (terms as f64).sqrt() * scale, relative: 1e-6 }
}

impl Tolerance {
    /// The same for a result stored as `dtype`. Inputs were rounded beforehand, so only the store adds to it.
    pub fn stored_as(self, dtype: DType) -> Tolerance {
        match dtype {
            DType::F16 => Tolerance { absolute: self.absolute + HALF_UNIT.absolute, relative: self.relative + HALF_UNIT.relative },
            _ => self,
        }
    }

    fn allows(self, got: f32, want: f32) -> bool {
        let (got, want) = (f64::from(got), f64::from(want));
        // Written so that NaN is refused.
        got == want || (got - want).abs() <= self.absolute + self.relative * want.abs()
    }
}

/// `Err` names the first and the worst element that are off, with both values.
pub fn compare(what: &str, shape: &[u32], got: &[f32], want: &[f32], tolerance: Tolerance) -> std::result::Result<(), String> {
    if got.len() != want.len() {
        return Err(format!("{what}: {} elements, expected {} (shape {shape:?})", got.len(), want.len()));
    }
    let off: Vec<usize> = (0..got.len()).filter(|&i| !tolerance.allows(got[i], want[i])).collect();
    let Some(&first) = off.first() else { return Ok(()) };
    let error = |i: usize| (f64::from(got[i]) - f64::from(want[i])).abs();
    let severity = |i: usize| {
        if error(i).is_nan() { f64::INFINITY } else { error(i) / (tolerance.absolute + tolerance.relative * f64::from(want[i]).abs()) }
    };
    let worst = off.iter().copied().max_by(|&a, &b| severity(a).total_cmp(&severity(b))).unwrap_or(first);
    let line = |i: usize| {
        format!(
            "at {:?} (element {i}): got {}, expected {}, error {:.3e}, allowed {:.3e}",
            index(shape, i),
            got[i],
            want[i],
            error(i),
            tolerance.absolute + tolerance.relative * f64::from(want[i]).abs()
        )
    };
    Err(format!(
        "{what}, shape {shape:?}: {} of {} elements are off\n  first {}\n  worst {}",
        off.len(),
        got.len(),
        line(first),
        line(worst)
    ))
}

/// Panics with [`compare`]'s words.
#[track_caller]
pub fn assert_close(what: &str, got: &Output, want: &[f32], tolerance: Tolerance) {
    if let Err(message) = compare(what, &got.shape, &got.floats(), want, tolerance) {
        panic!("{message}");
    }
}

/// For kernels in integers: not one bit may differ. Pixels print as red, green, blue, alpha.
#[track_caller]
pub fn assert_exact(what: &str, shape: &[u32], got: &[u32], want: &[u32]) {
    assert_eq!(got.len(), want.len(), "{what}: number of elements (shape {shape:?})");
    let off = got.iter().zip(want).filter(|(g, w)| g != w).count();
    if let Some(i) = got.iter().zip(want).position(|(g, w)| g != w) {
        let (g, w) = (got[i].to_le_bytes(), want[i].to_le_bytes());
        panic!(
            "{what}, shape {shape:?}: {off} of {} elements differ, first at {:?} (element {i}): got {g:?}, expected {w:?}",
            got.len(),
            index(shape, i)
        );
    }
}

fn index(shape: &[u32], mut i: usize) -> Vec<usize> {
    let mut at = Vec::new();
    for &d in shape.iter().rev() {
        at.insert(0, i % (d as usize).max(1));
        i /= (d as usize).max(1);
    }
    at
}
