//! Pipelines kept on disk between processes: a hint that may be missing, broken or of no use.

use crate::host::beside_others;
use lancet::gpu::{PlanBuilder, Source};
use lancet::reference::Activation;
use lancet::shape::DType;
use lancet::{Engine, Options, ops, wgpu};
use std::path::Path;

/// A fresh engine, a kernel run on it, and whether the driver lets pipelines be kept.
fn run(folder: &Path) -> (Vec<f32>, bool) {
    let options = Options { pipeline_folder: Some(folder.to_owned()), ..Options::default() };
    let engine = pollster::block_on(Engine::new(options)).unwrap();
    let gpu = engine.gpu();
    let x: Vec<f32> = (0..64).map(|i| i as f32 / 8.0 - 4.0).collect();
    let x = gpu.upload("x", &[16, 4], DType::F32, &x).unwrap();
    let mut b = PlanBuilder::new(gpu);
    let value = b.import(&x);
    let y = ops::activation(&mut b, "activation", value, Activation::QuickGelu).unwrap();
    b.keep(y);
    let mut plan = b.finish(|r| r.tensor(y)).unwrap();
    let kept = gpu.device.features().contains(wgpu::Features::PIPELINE_CACHE);
    (pollster::block_on(gpu.run(&mut plan, Source::None)).unwrap(), kept)
}

#[test]
fn a_broken_file_of_pipelines_is_replaced() {
    let _turn = beside_others();
    let folder = std::env::temp_dir().join(format!("lancet-embedding-{}", std::process::id()));
    let files = || -> Vec<_> { std::fs::read_dir(&folder).map(|all| all.map(|e| e.unwrap().path()).collect()).unwrap_or_default() };
    let (want, kept) = run(&folder);
    if !kept {
        println!("NOT CHECKED: this driver keeps no pipelines");
        assert!(files().is_empty());
        return;
    }
    let [path] = &files()[..] else { panic!("one file, no temporary ones: {:?}", files()) };
    let whole = std::fs::read(path).unwrap();
    assert!(whole.len() > 8, "an empty cache");
    let mut changed = whole.clone();
    changed[whole.len() / 2] ^= 0x40;
    for broken in [&whole[..whole.len() - 1], &changed, b"", b"not a cache at all"] {
        std::fs::write(path, broken).unwrap();
        assert_eq!(run(&folder).0, want);
        let now = std::fs::read(path).unwrap();
        assert!(now != broken && now.len() > 8, "a broken file of {} bytes was left", broken.len());
    }
    // One that is whole is taken, and so is a folder that cannot be: a file stands in its place.
    assert_eq!(run(&folder).0, want);
    assert_eq!(run(path).0, want);
    assert_eq!(files().len(), 1);
    std::fs::remove_dir_all(&folder).unwrap();
}
