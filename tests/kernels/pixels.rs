//! Pixels in and out: resizing, normalising, colouring, textures. All exact but the division in `normalize`.

use crate::Case;
use crate::common::{FEW_ROUNDINGS, Random, Rig, assert_exact, packed, run, run_from, upload, upload_u32};
use lancet::gpu::{PlanBuilder, Source};
use lancet::ops;
use lancet::reference::{self, Align};
use lancet::shape::DType;
use lancet::wgpu;

pub fn resize_u8(case: &Case) {
    // Up, down, both, one pixel, thin, and either axis kept.
    let table = [
        (1u32, [50u32, 37u32], [224u32, 224u32]),
        (2, [500, 375], [224, 168]),
        (1, [640, 480], [77, 50]),
        (1, [1, 1], [7, 5]),
        (1, [3, 500], [224, 224]),
        (1, [500, 3], [1, 1]),
        (2, [33, 20], [33, 51]),
        (3, [20, 33], [51, 33]),
        (1, [64, 64], [63, 65]),
    ];
    for (images, from, to) in table {
        let [f, t] = [from, to].map(|s| s.map(|s| s as usize));
        let rgba = Random::new(u64::from(from[0])).bytes(images as usize * f[0] * f[1] * 4);
        let tensor = upload_u32(case.rig, &[images, from[1], from[0]], &packed(&rgba));
        let got = run(case.rig, |b| {
            let rgba = b.import(&tensor);
            ops::resize_u8(b, "y", rgba, to)
        });
        assert_eq!(got.shape, [images, to[1], to[0]]);
        let want: Vec<u8> = rgba.chunks_exact(f[0] * f[1] * 4).flat_map(|image| reference::resize_u8(image, f, t)).collect();
        case.exact(&format!("{images} x {from:?} -> {to:?}"), &got, &packed(&want));
        let passes = usize::from(from[0] != to[0]) + usize::from(from[1] != to[1]);
        assert_eq!(got.kernels.len(), passes, "{}", case.label("an axis that keeps its size costs no pass"));
    }
}

pub fn normalize(case: &Case) {
    let (mean, std) = ([0.481_454_66, 0.457_827_5, 0.408_210_73], [0.268_629_54, 0.261_302_6, 0.275_777_1]);
    for (images, size) in [(1u32, [1u32, 1u32]), (2, [7, 5]), (1, [224, 224]), (3, [33, 65]), (2, [2048, 1025])] {
        let rgba = Random::new(u64::from(size[0])).bytes((images * size[0] * size[1] * 4) as usize);
        let tensor = upload_u32(case.rig, &[images, size[1], size[0]], &packed(&rgba));
        let got = run(case.rig, |b| {
            let rgba = b.import(&tensor);
            ops::normalize(b, "y", rgba, mean, std)
        });
        let want = reference::normalize(&rgba, images as usize, size.map(|s| s as usize), mean, std);
        case.close(&format!("{images} x {size:?}"), &got, &want, FEW_ROUNDINGS);
    }
}

/// Heat on and around every level's edge, and beyond 0..1.
fn heat(count: usize) -> Vec<f32> {
    let mut random = Random::new(3).floats(count, 0.6, DType::F32).into_iter().map(|v| v + 0.5);
    (0..count)
        .map(|i| match i % 3 {
            0 => (i / 3 % 256) as f32 / 255.0,
            _ => random.next().unwrap_or_default(),
        })
        .collect()
}

pub fn overlay_maps(case: &Case) {
    let upload_image = |size: [u32; 2], rgba: &[u8]| upload_u32(case.rig, &[1, size[1], size[0]], &packed(rgba));
    // A grid as fine as the picture is not resized: exact.
    for size in [[1u32, 1u32], [7, 5], [50, 77], [257, 197]] {
        let count = (size[0] * size[1]) as usize;
        let (map, rgba) = (heat(count), Random::new(4).bytes(count * 4));
        let (mt, it) = (upload(case.rig, &[1, size[0] * size[1]], DType::F32, &map), upload_image(size, &rgba));
        let got = run(case.rig, |b| {
            let (map, image) = (b.import(&mt), b.import(&it));
            ops::overlay_maps(b, "y", map, 0..1, size, image)
        });
        case.exact(&format!("{size:?}"), &got, &packed(&reference::overlay_texture(&map, &rgba)));
    }
    // Resized, and some of several maps.
    let table = [
        (3u32, 0..3u32, [7u32, 7u32], [224u32, 224u32]),
        (5, 2..4, [14, 9], [37, 101]),
        (2, 1..2, [16, 16], [5, 3]),
        (59, 50..59, [7, 7], [50, 77]),
        (1, 0..1, [5, 3], [2049, 2050]), // 65,633 workgroups: folded
    ];
    let both = table.into_iter().flat_map(|row| [(row.clone(), Align::Centres), (row, Align::Corners)]);
    for ((planes, some, from, to), align) in both {
        let cells = (from[0] * from[1]) as usize;
        let maps: Vec<f32> =
            Random::new(u64::from(to[0])).floats(planes as usize * cells, 0.5, DType::F32).iter().map(|v| v + 0.5).collect();
        let rgba = Random::new(6).bytes((to[0] * to[1]) as usize * 4);
        let (mt, it) = (upload(case.rig, &[planes, cells as u32], DType::F32, &maps), upload_image(to, &rgba));
        let got = run(case.rig, |b| {
            let (maps, image) = (b.import(&mt), b.import(&it));
            ops::overlay_maps_aligned(b, "y", maps, some.clone(), from, image, align)
        });
        case.ran(&got);
        assert_eq!(got.shape, [some.end - some.start, to[1], to[0]]);
        let [f, t] = [from, to].map(|s| s.map(|s| s as usize));
        let shown = &maps[some.start as usize * cells..some.end as usize * cells];
        let heat = reference::upsample_aligned(shown, some.len(), f, t, align);
        let want: Vec<u8> = heat.chunks_exact(t[0] * t[1]).flat_map(|map| reference::overlay_texture(map, &rgba)).collect();
        if align == Align::Centres {
            assert_eq!(want, reference::overlay_maps(shown, some.len(), f, &rgba, t));
        }
        // Heat is good to 1e-5 (see `upsample`): where it lies that near a level's edge, either level is right.
        let edge = |i: usize| {
            let level = 255.0 * f64::from(heat[i]);
            (-0.01..255.01).contains(&level) && (level - level.round()).abs() < 255.0 * 1e-5
        };
        let words = got.words();
        let wrong = words.iter().zip(packed(&want)).enumerate().filter(|&(i, (got, want))| *got != want && !edge(i)).count();
        let near = (0..words.len()).filter(|&i| edge(i)).count();
        assert!(near <= 2 + words.len() / 50, "{}", case.label("the check lets too much pass"));
        assert_eq!(wrong, 0, "{}", case.label(&format!("{some:?} of {planes} maps {from:?} -> {to:?}: pixels that differ")));
    }
}

fn texture(rig: &Rig, size: [u32; 2], usage: wgpu::TextureUsages) -> wgpu::Texture {
    rig.engine.gpu().device.create_texture(&wgpu::TextureDescriptor {
        label: Some("test"),
        size: wgpu::Extent3d { width: size[0], height: size[1], depth_or_array_layers: 1 },
        mip_level_count: 1,
        sample_count: 1,
        dimension: wgpu::TextureDimension::D2,
        format: wgpu::TextureFormat::Rgba8Unorm,
        usage,
        view_formats: &[],
    })
}

pub fn load_texture(case: &Case) {
    for (images, size) in [(1u32, [1u32, 1u32]), (1, [7, 5]), (2, [197, 50]), (3, [64, 33])] {
        let bytes = (size[0] * size[1] * 4) as usize;
        let rgba = Random::new(u64::from(size[0])).bytes(images as usize * bytes);
        let views: Vec<_> = rgba
            .chunks_exact(bytes)
            .map(|image| {
                let texture = texture(case.rig, size, wgpu::TextureUsages::TEXTURE_BINDING | wgpu::TextureUsages::COPY_DST);
                let layout = wgpu::TexelCopyBufferLayout { offset: 0, bytes_per_row: Some(size[0] * 4), rows_per_image: None };
                case.rig.engine.gpu().queue.write_texture(texture.as_image_copy(), image, layout, texture.size());
                texture.create_view(&wgpu::TextureViewDescriptor::default())
            })
            .collect();
        let got = run_from(case.rig, Source::Textures(&views), |b| ops::load_texture(b, "pixels", images, size));
        assert_eq!(got.shape, [images, size[1], size[0]]);
        // The reference is the identity: a texture's bytes as they are.
        case.exact(&format!("{images} x {size:?}"), &got, &packed(&rgba));
    }
}

pub fn overlay_texture(case: &Case) {
    for (planes, size) in [(1u32, [1u32, 1u32]), (3, [7, 5]), (2, [197, 50])] {
        let count = (size[0] * size[1]) as usize;
        let (maps, rgba) = (heat(planes as usize * count), Random::new(5).bytes(count * 4));
        let mt = upload(case.rig, &[planes, size[1], size[0]], DType::F32, &maps);
        let it = upload_u32(case.rig, &[1, size[1], size[0]], &packed(&rgba));
        for plane in 0..planes {
            // Fresh textures are transparent black; an overlay is opaque, so a pixel that is not written shows.
            let target = texture(case.rig, size, wgpu::TextureUsages::STORAGE_BINDING | wgpu::TextureUsages::COPY_SRC);
            let view = target.create_view(&wgpu::TextureViewDescriptor::default());
            let mut b = PlanBuilder::new(case.rig.engine.gpu());
            let (maps_value, image) = (b.import(&mt), b.import(&it));
            ops::overlay_texture(&mut b, "out", maps_value, plane, image, &view).expect("planning");
            let mut plan = b.finish(|_| Ok(())).expect("finishing the plan");
            assert_eq!(plan.steps()[0].kernel, case.kernel);
            plan.run_timed(Source::None).expect("running");
            let want = packed(&reference::overlay_texture(&maps[plane as usize * count..][..count], &rgba));
            let what = case.label(&format!("plane {plane} of {planes}, {size:?}"));
            assert_exact(&what, &[size[1], size[0]], &texels(case.rig, &target), &want);
        }
    }
}

/// An RGBA8 texture's texels, row by row.
fn texels(rig: &Rig, texture: &wgpu::Texture) -> Vec<u32> {
    let gpu = rig.engine.gpu();
    let row = (texture.width() * 4).next_multiple_of(wgpu::COPY_BYTES_PER_ROW_ALIGNMENT);
    let staging = gpu.device.create_buffer(&wgpu::BufferDescriptor {
        label: Some("test"),
        size: u64::from(row * texture.height()),
        usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
        mapped_at_creation: false,
    });
    let mut encoder = gpu.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
    let layout = wgpu::TexelCopyBufferLayout { offset: 0, bytes_per_row: Some(row), rows_per_image: None };
    encoder.copy_texture_to_buffer(texture.as_image_copy(), wgpu::TexelCopyBufferInfo { buffer: &staging, layout }, texture.size());
    gpu.queue.submit([encoder.finish()]);
    staging.map_async(wgpu::MapMode::Read, .., |mapped| mapped.expect("mapping"));
    gpu.device.poll(wgpu::PollType::wait_indefinitely()).expect("waiting for the device");
    let bytes = staging.get_mapped_range(..).expect("mapped").to_vec();
    bytes.chunks_exact(row as usize).flat_map(|r| packed(&r[..texture.width() as usize * 4])).collect()
}
