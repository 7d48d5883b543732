//! `lancet info`: adapters, the one in use, and what will run on it.

use crate::model::engine_options;
use anyhow::Result;
use lancet::Engine;
use lancet::gpu::kernel::kernels;
use serde::Serialize;

/// Print the adapters, the one that is used, its features and limits, and the kernels
///
/// Example: lancet info --json
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Part of an adapter's name, or its number in the list [env: LANCET_ADAPTER]
    #[arg(long, value_name = "NAME|N")]
    adapter: Option<String>,
    /// As JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct Info {
    version: &'static str,
    adapters: Vec<String>,
    adapter: String,
    driver: String,
    backend: String,
    device_type: String,
    max_buffer_mib: u64,
    max_storage_binding_mib: u64,
    max_image_megapixels: u64,
    max_texture_side: u32,
    shader_f16: bool,
    shader_int64: bool,
    subgroup_sizes: Option<[u32; 2]>,
    cooperative_matrices: Vec<String>,
    timestamps: bool,
    tuned_rules: Vec<String>,
    kernels: Vec<KernelInfo>,
}

#[derive(Debug, Serialize)]
struct KernelInfo {
    name: &'static str,
    variants: Vec<String>,
}

/// Runs `lancet info`.
pub fn run(args: &Args) -> Result<()> {
    let info = pollster::block_on(collect(args))?;
    if args.json {
        out!("{}", serde_json::to_string_pretty(&info)?);
        return Ok(());
    }
    out!("lancet {}", info.version);
    out!("adapters, best first:");
    for (i, name) in info.adapters.iter().enumerate() {
        out!("  {i}  {name}");
    }
    out!("in use: {} ({}, {})", info.adapter, info.device_type, info.backend);
    out!("  driver                 {}", info.driver);
    out!("  largest buffer         {} MiB", info.max_buffer_mib);
    out!("  largest binding        {} MiB (images up to {} megapixels)", info.max_storage_binding_mib, info.max_image_megapixels);
    out!("  largest texture side   {} pixels", info.max_texture_side);
    out!("  half arithmetic        {} (not needed: half storage works everywhere)", yes(info.shader_f16));
    out!("  64-bit integers        {} (kernels for CPU drivers)", yes(info.shader_int64));
    match info.subgroup_sizes {
        Some([low, high]) => out!("  subgroups              yes, {low} to {high} (some kernels)"),
        None => out!("  subgroups              no"),
    }
    match info.cooperative_matrices.as_slice() {
        [] => out!("  cooperative matrices   no"),
        kinds => out!("  cooperative matrices   {}", kinds.join(", ")),
    }
    out!("  timestamps             {} (lancet profile)", yes(info.timestamps));
    match info.tuned_rules.len() {
        0 => out!("  tuned kernels          no, lancet's own table (lancet tune)"),
        n => out!("  tuned kernels          {n} rules of lancet tune"),
    }
    out!("kernels and their element types:");
    for kernel in &info.kernels {
        out!("  {:<24} {}", kernel.name, kernel.variants.join(", "));
    }
    Ok(())
}

fn yes(b: bool) -> &'static str {
    if b { "yes" } else { "no" }
}

async fn collect(args: &Args) -> Result<Info> {
    let adapters = Engine::adapters().await;
    let engine = Engine::new(engine_options(args.adapter.clone())).await?;
    let caps = engine.caps();
    let variant = |v: &lancet::gpu::kernel::Variant| match (v.act, v.weight) {
        (Some(a), Some(w)) => format!("{a} x {w}"),
        (Some(a), None) => a.to_string(),
        _ => "f32".to_owned(),
    };
    Ok(Info {
        version: env!("CARGO_PKG_VERSION"),
        adapters: adapters
            .iter()
            .map(|a| format!("{} ({:?}, {:?})", a.get_info().name, a.get_info().device_type, a.get_info().backend))
            .collect(),
        adapter: caps.adapter.clone(),
        driver: caps.driver.clone(),
        backend: format!("{:?}", caps.backend),
        device_type: format!("{:?}", caps.device_type),
        max_buffer_mib: caps.max_buffer_bytes >> 20,
        max_storage_binding_mib: caps.max_binding_bytes >> 20,
        max_image_megapixels: caps.max_binding_bytes / 4_000_000,
        max_texture_side: caps.max_texture_side,
        shader_f16: caps.shader_f16,
        shader_int64: caps.shader_int64,
        subgroup_sizes: caps.subgroups,
        cooperative_matrices: caps.cooperative.iter().map(|c| format!("{c:?}")).collect(),
        timestamps: caps.timestamps,
        tuned_rules: engine.gpu().tuned.iter().map(|r| r.to_string()).collect(),
        kernels: kernels::ALL.iter().map(|k| KernelInfo { name: k.name, variants: k.variants.iter().map(variant).collect() }).collect(),
    })
}
