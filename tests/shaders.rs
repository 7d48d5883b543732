//! Every variant of every kernel is valid WGSL, stays inside WebGPU's default limits, and can be written for Vulkan,
//! Metal and DX12 (cooperative matrices: Vulkan and Metal, where they exist). Needs no adapter: drivers accept more than the standard, so running a kernel here proves nothing there.

mod common;

use lancet::engine::Emulation;
use lancet::gpu::kernel::{Binding, Kernel, Need, kernels};
use lancet::ops::{self, AttentionArgs, Choice, MatmulArgs, Residual, Tiles};
use lancet::reference::{Activation, Heads, Projection};
use lancet::shape::DType;
use lancet::{Engine, Options, wgpu};
use naga::back::{PipelineConstants, hlsl, msl, pipeline_constants::process_overrides, spv};
use naga::valid::{Capabilities, ModuleInfo, ValidationFlags, Validator};
use naga::{AddressSpace, Module, ShaderStage};
use std::path::{Path, PathBuf};
use std::{fs, iter};

/// Of `wgpu::Limits::default()`, what every browser guarantees; wgpu itself does not check the first.
const MAX_WORKGROUP_BYTES: u32 = 16 * 1024;
const MAX_THREADS: u32 = 256;
const MAX_STORAGE_BUFFERS: usize = 8;

/// Kernels without a definition of their own in `src/reference`, and why.
const TWINLESS: [(&str, &str); 2] = [("copy_ceiling", "the identity"), ("load_texture", "the identity")];

/// Values that the ops give to override constants, by name.
const OVERRIDES: [(&str, &[f64]); 6] = [
    ("BIAS", &[0.0, 1.0]),
    ("CAP", &[0.0, 1.0]),
    ("CORNERS", &[0.0, 1.0]),
    ("DISTANCES", &[0.0, 1.0]),
    ("SUM", &[0.0, 1.0]),
    ("TRIE", &[0.0, 1.0]),
];

/// What a kernel may use beyond the portable set, by its own word.
fn capabilities(kernel: &Kernel) -> Capabilities {
    let subgroup = Capabilities::SHADER_FLOAT16_IN_FLOAT32 | Capabilities::SUBGROUP;
    match kernel.need {
        None => Capabilities::SHADER_FLOAT16_IN_FLOAT32,
        Some(Need::Subgroup) => subgroup,
        Some(Need::SubgroupInt64) => subgroup | Capabilities::SHADER_INT64,
        Some(Need::Cooperative8) => subgroup | Capabilities::COOPERATIVE_MATRIX,
        Some(Need::Cooperative16) => subgroup | Capabilities::COOPERATIVE_MATRIX | Capabilities::SHADER_FLOAT16,
    }
}

fn is_cooperative(kernel: &Kernel) -> bool {
    kernel.need.is_some_and(Need::is_cooperative)
}

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// `name` without `extension`, for every file of a folder.
fn stems(name: &str, extension: &str) -> Vec<String> {
    let mut all: Vec<String> = fs::read_dir(folder(name))
        .expect("a folder of the repository")
        .map(|e| e.expect("a folder entry").path())
        .filter(|p| p.extension().is_some_and(|x| x == extension))
        .map(|p| p.file_stem().expect("a file name").to_string_lossy().into_owned())
        .collect();
    all.sort_unstable();
    all
}

/// Every variant with every value of its override constants: what to call it, and the module with the constants put in.
fn resolved(kernel: &Kernel) -> Vec<(String, Module, ModuleInfo)> {
    let mut all = Vec::new();
    for variant in kernel.variants {
        let what = format!("{} (activations {:?}, weights {:?})", kernel.name, variant.act, variant.weight);
        let module =
            naga::front::wgsl::parse_str(variant.source).unwrap_or_else(|e| panic!("{what}: {}", e.emit_to_string(variant.source)));
        let info = Validator::new(ValidationFlags::all(), capabilities(kernel))
            .validate(&module)
            .unwrap_or_else(|e| panic!("{what}: {}", e.emit_to_string(variant.source)));
        let mut constants = vec![PipelineConstants::default()];
        for &name in kernel.overrides {
            let values = OVERRIDES
                .iter()
                .find(|o| o.0 == name)
                .unwrap_or_else(|| panic!("{what}: add override {name} to OVERRIDES in tests/shaders.rs"))
                .1;
            constants = constants
                .iter()
                .flat_map(|c| values.iter().map(|&v| c.clone().into_iter().chain(iter::once((name.to_owned(), v))).collect()))
                .collect();
        }
        for c in constants {
            let (module, info) =
                process_overrides(&module, &info, Some((ShaderStage::Compute, "main")), &c).unwrap_or_else(|e| panic!("{what} {c:?}: {e}"));
            all.push((format!("{what} {c:?}"), module.into_owned(), info.into_owned()));
        }
    }
    all
}

#[test]
fn every_variant_can_be_written_for_every_backend() {
    for kernel in kernels::ALL {
        for (what, module, info) in resolved(kernel) {
            // 1.3 is where subgroups begin.
            let vulkan = spv::Options { lang_version: if kernel.need.is_some() { (1, 3) } else { (1, 0) }, ..Default::default() };
            spv::write_vec(&module, &info, &vulkan, None).unwrap_or_else(|e| panic!("{what}: SPIR-V: {e}"));
            let metal = msl::Options {
                lang_version: if is_cooperative(kernel) {
                    (2, 3)
                } else if kernel.need.is_some() {
                    (2, 1)
                } else {
                    (2, 0)
                },
                ..Default::default()
            };
            msl::write_string(&module, &info, &metal, &msl::PipelineOptions::default()).unwrap_or_else(|e| panic!("{what}: MSL: {e}"));
            if is_cooperative(kernel) {
                continue;
            }
            let (options, pipeline) = (hlsl::Options::default(), hlsl::PipelineOptions::default());
            let mut text = String::new();
            hlsl::Writer::new(&mut text, &options, &pipeline).write(&module, &info, None).unwrap_or_else(|e| panic!("{what}: HLSL: {e}"));
        }
    }
}

#[test]
fn every_variant_stays_in_the_portable_set() {
    for kernel in kernels::ALL {
        for (what, module, _) in resolved(kernel) {
            let entries: Vec<_> = module.entry_points.iter().map(|e| e.name.as_str()).collect();
            assert_eq!(entries, ["main"], "{what}: entry points");
            let threads: u32 = module.entry_points[0].workgroup_size.iter().product();
            assert!(threads <= MAX_THREADS, "{what}: {threads} threads");
            let sizes = module
                .global_variables
                .iter()
                .filter(|(_, v)| v.space == AddressSpace::WorkGroup)
                .map(|(_, v)| module.types[v.ty].inner.size(module.to_ctx()));
            let bytes: u32 = sizes.sum();
            assert!(bytes <= MAX_WORKGROUP_BYTES, "{what}: {bytes} bytes of workgroup memory");
            let storage = kernel.bindings.iter().filter(|b| matches!(b, Binding::Read | Binding::Write)).count();
            assert!(storage <= MAX_STORAGE_BUFFERS, "{what}: {storage} storage buffers");
            assert_eq!(kernel.bindings[0], Binding::Params, "{what}: binding 0");
            assert_eq!(
                kernel.bindings.len(),
                module.global_variables.iter().filter(|(_, v)| v.binding.is_some()).count(),
                "{what}: bindings"
            );
        }
        // Those of cooperative kernels are the build's, and no browser ever sees them.
        for variant in kernel.variants.iter().filter(|_| !is_cooperative(kernel)) {
            let directive =
                variant.source.lines().map(str::trim).find(|l| ["enable ", "requires ", "diagnostic"].iter().any(|d| l.starts_with(d)));
            assert_eq!(directive, None, "{}: directives differ between browsers and naga", kernel.name);
        }
    }
}

/// Bytes of a kernel's uniform struct as naga lays it out, rounded up to the 16 that uniform structs are bound in.
fn params_bytes(kernel: &Kernel) -> usize {
    let (_, module, _) = resolved(kernel).swap_remove(0);
    let (_, params) = module.global_variables.iter().find(|(_, v)| v.space == AddressSpace::Uniform).expect("a uniform Params");
    module.types[params.ty].inner.size(module.to_ctx()).next_multiple_of(16) as usize
}

macro_rules! params_match {
    ($($kernel:ident)*) => {
        #[test]
        fn params_are_laid_out_as_in_wgsl() {
            let mut seen = Vec::new();
            $(
                let rust = size_of::<kernels::$kernel::Params>();
                assert_eq!(rust % 16, 0, "{}: Params of {rust} bytes", stringify!($kernel));
                assert_eq!(rust, params_bytes(&kernels::$kernel::KERNEL), "{}: size of Params", stringify!($kernel));
                seen.push(stringify!($kernel));
            )*
            assert_eq!(seen, kernels::ALL.iter().map(|k| k.name).collect::<Vec<_>>(), "params_match! must list every kernel, in name order");
        }
    };
}

params_match! {
    activation add affinity_bias affinity_weights aggregate attention attention_cooperative_16 attention_scores attention_subgroup_32x4
    avg_pool blur_rows
    conv3x3 conv3x3_subgroup_50x8 conv_stem copy_ceiling ensemble feature_surgery fma_ceiling gather_rows gram kth_distance l2_normalize layer_norm
    layer_norm_rows_8 load_texture lof logit_bias matmul matmul_cooperative_16 matmul_cooperative_8 matmul_reduce matmul_register_8x16
    matmul_register_8x8 matmul_subgroup_16x4 matmul_subgroup_25x4 matmul_subgroup_50x8
    matmul_workgroup_128 matmul_workgroup_64 mean_filter mean_norm merge_views minmax normalize outliers overlay_maps overlay_texture pamr pamr_weights patch_embed
    patch_embed_subgroup_50x8 patch_modes pool_embed repair resize_u8 row_mean same_entity segment similarity softmax state_scores stitch stretch_pixels
    token_embed unit_heads unit_values upsample views window_bias
}

#[test]
fn one_name_for_file_kernel_and_reference() {
    let names: Vec<_> = kernels::ALL.iter().map(|k| k.name).collect();
    assert_eq!(names, stems("shaders", "wgsl"), "files of shaders/ and kernels of the table");
    let twins = stems("src/reference", "rs");
    // Kernels of one op share the op's definition.
    let defined = kernels::ALL.iter().filter(|k| k.family == k.name).map(|k| k.name);
    for name in defined {
        let excused = TWINLESS.iter().any(|t| t.0 == name);
        let has = twins.iter().any(|t| t == name);
        assert!(
            has != excused,
            "{name}: {}",
            if has { "has a reference, take it off TWINLESS" } else { "no src/reference file of that name" }
        );
    }
    for twin in twins.iter().filter(|t| *t != "mod") {
        assert!(names.contains(&twin.as_str()), "src/reference/{twin}.rs: no kernel of that name");
    }
}

/// One op fills the parameters of all its kernels, as those of its namesake.
#[test]
fn a_family_shares_its_operands() {
    for kernel in kernels::ALL.iter().filter(|k| k.family != k.name) {
        let namesake = kernels::ALL.iter().find(|k| k.name == kernel.family);
        let namesake = namesake.unwrap_or_else(|| panic!("{}: there is no kernel {}", kernel.name, kernel.family));
        assert_eq!(kernel.bindings, namesake.bindings, "{}: bindings", kernel.name);
        assert_eq!(params_fields(kernel), params_fields(namesake), "{}: Params", kernel.name);
        let elements = |k: &Kernel| k.variants.iter().map(|v| (v.act, v.weight)).collect::<Vec<_>>();
        assert_eq!(elements(kernel), elements(namesake), "{}: element types", kernel.name);
    }
}

/// Names and offsets of a kernel's uniform struct.
fn params_fields(kernel: &Kernel) -> Vec<(Option<String>, u32)> {
    let (_, module, _) = resolved(kernel).swap_remove(0);
    let (_, params) = module.global_variables.iter().find(|(_, v)| v.space == AddressSpace::Uniform).expect("a uniform Params");
    let naga::TypeInner::Struct { members, .. } = &module.types[params.ty].inner else { panic!("{}: Params is no struct", kernel.name) };
    members.iter().map(|m| (m.name.clone(), m.offset)).collect()
}

/// A device that has every feature and computes nothing: wgpu's own checks of shaders, pipelines and bindings.
fn noop_engine(emulation: Option<Emulation>) -> Engine {
    let descriptor = wgpu::DeviceDescriptor {
        required_features: wgpu::Features::all(),
        // SAFETY: the device runs nothing.
        experimental_features: unsafe { wgpu::ExperimentalFeatures::enabled() },
        ..Default::default()
    };
    let (device, queue) = wgpu::Device::noop(&descriptor);
    Engine::from_device(&device, &queue, Options { cooperative: common::emulate::matrices(), emulation, ..Options::default() })
        .expect("an engine")
}

/// As [`every_matmul_kernel_is_planned_on_a_device_with_all_features`], on subgroups of 32.
#[test]
fn every_attention_kernel_is_planned_on_a_device_with_all_features() {
    let engine = noop_engine(Some(Emulation { rewrite: str::to_owned, lanes: 32 }));
    let gpu = engine.gpu();
    let (heads, tiles) = (Heads { heads: 2, size: 64 }, Tiles::equal(gpu, 2, 50).expect("tiles"));
    let paths = [(Projection::Query, Projection::Key), (Projection::Value, Projection::Value)];
    for act in [DType::F32, DType::F16] {
        let names: Vec<_> = ops::attention_kernels(engine.caps(), heads.size, act).map(|k| k.name).collect();
        let wanted: Vec<_> = kernels::ALL.iter().filter(|k| k.family == "attention").map(|k| k.name).collect();
        // f32 would be rounded.
        let rounds = |name: &&&str| act == DType::F32 && name.contains("cooperative");
        assert_eq!(names, wanted.iter().filter(|name| !rounds(name)).copied().collect::<Vec<_>>());
        for kernel in ops::attention_kernels(engine.caps(), heads.size, act) {
            let mut b = lancet::gpu::PlanBuilder::new(gpu);
            let zeros = vec![0u8; 100 * 384 * act.bytes() as usize];
            let qkv = b.import(&gpu.upload("zeros", &[100, 384], act, &zeros).expect("zeros"));
            let args = AttentionArgs { qkv, tiles: &tiles, heads, scale: 0.125, cap: None, causal: false, paths: &paths };
            let y = ops::attention_by(&mut b, "y", args, kernel).unwrap_or_else(|e| panic!("{} on {act}: {e}", kernel.name));
            b.keep(y);
            b.finish(|r| r.tensor(y)).unwrap_or_else(|e| panic!("{} on {act}: {e}", kernel.name));
        }
    }
}

/// Kernels that the machine at hand may lack.
#[test]
fn every_matmul_kernel_is_planned_on_a_device_with_all_features() {
    let engine = noop_engine(None);
    let gpu = engine.gpu();
    for kernel in kernels::ALL.iter().filter(|k| k.family == "matmul") {
        for variant in kernel.variants {
            let (act, weight) = (variant.act.expect("activations"), variant.weight.expect("weights"));
            let zeros = |dims: &[u32], dtype: DType| {
                let bytes = vec![0u8; dims.iter().product::<u32>() as usize * dtype.bytes() as usize];
                gpu.upload("zeros", dims, dtype, &bytes).expect("zeros")
            };
            let (x, w) = (zeros(&[65, 40], act), zeros(&[72, 40], weight));
            let mut b = lancet::gpu::PlanBuilder::new(gpu);
            let x = b.import(&x);
            // Bytes are nothing without their scales.
            let scales = (weight == DType::I8).then(|| zeros(&[2, 72], DType::F32));
            let args =
                MatmulArgs { x, x_offset: 0, weight: &w, bias: scales.as_ref(), activation: Activation::Gelu, residual: Residual::None };
            let planned = ops::matmul_by(&mut b, "y", args, Choice { kernel, slices: 2 });
            // f32 would be rounded.
            let rounds = kernel.need == Some(Need::Cooperative16) && [act, weight].contains(&DType::F32);
            let subgroups_of_8 =
                !matches!(kernel.need, Some(Need::Subgroup | Need::SubgroupInt64)) || engine.caps().subgroups.is_some_and(|s| s[0] >= 8);
            assert_eq!(planned.is_ok(), !rounds && subgroups_of_8, "{} on {act} x {weight}: {planned:?}", kernel.name);
            if let Ok(y) = planned {
                b.keep(y);
                b.finish(|r| r.tensor(y)).unwrap_or_else(|e| panic!("{} on {act} x {weight}: {e}", kernel.name));
            }
        }
    }
}
