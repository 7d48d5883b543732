//! Image files of every kind.

use crate::{root, succeed};
use image::{DynamicImage, GrayImage, ImageBuffer, ImageFormat, Luma, Rgb, RgbImage, Rgba, RgbaImage};
use lancet::clip::decode::Decoded;
use std::io::Cursor;
use std::path::Path;

fn save(image: &DynamicImage, path: &Path, format: ImageFormat) {
    let mut bytes = Cursor::new(Vec::new());
    image.write_to(&mut bytes, format).unwrap();
    std::fs::write(path, bytes.into_inner()).unwrap();
}

fn pixel(decoded: &Decoded, x: u32, y: u32) -> [u8; 4] {
    let at = ((y * decoded.size()[0] + x) * 4) as usize;
    decoded.rgba()[at..at + 4].try_into().unwrap()
}

#[test]
fn every_colour_type_and_format() {
    let folder = tempfile::tempdir().unwrap();
    let sixteen: ImageBuffer<Luma<u16>, Vec<u16>> = ImageBuffer::from_pixel(3, 2, Luma([0x8000]));
    let rgb16: ImageBuffer<Rgb<u16>, Vec<u16>> = ImageBuffer::from_pixel(3, 2, Rgb([0xffff, 0, 0x4040]));
    let cases: [(&str, DynamicImage, ImageFormat, [u8; 4]); 6] = [
        ("grey.png", GrayImage::from_pixel(3, 2, Luma([77])).into(), ImageFormat::Png, [77, 77, 77, 255]),
        ("grey16.png", sixteen.into(), ImageFormat::Png, [128, 128, 128, 255]),
        ("rgb16.png", rgb16.into(), ImageFormat::Png, [255, 0, 64, 255]),
        ("alpha.png", RgbaImage::from_pixel(3, 2, Rgba([0, 0, 0, 0])).into(), ImageFormat::Png, [255, 255, 255, 255]),
        ("rgb.webp", RgbImage::from_pixel(3, 2, Rgb([1, 2, 3])).into(), ImageFormat::WebP, [1, 2, 3, 255]),
        ("rgb.jpg", RgbImage::from_pixel(16, 16, Rgb([200, 200, 200])).into(), ImageFormat::Jpeg, [200, 200, 200, 255]),
    ];
    for (name, image, format, expected) in cases {
        let path = folder.path().join(name);
        save(&image, &path, format);
        assert_eq!(pixel(&Decoded::open(&path).unwrap(), 0, 0), expected, "{name}");
    }
}

#[test]
fn golden_files_decode_as_pillow_does() {
    let golden = root().join("tests/golden");
    let file = lancet::Weights::open(golden.join("expected/preprocess.safetensors")).unwrap();
    for name in ["scene_rgb_131x97", "scene_gray_131x97", "small_rgb_40x30", "wide_rgb_600x37"] {
        let decoded = Decoded::open(golden.join(format!("images/{name}.png"))).unwrap();
        let expected = file.raw(&format!("{name}.decoded_rgb_u8")).unwrap();
        let got: Vec<u8> = decoded.rgba().chunks(4).flat_map(|p| p[..3].to_vec()).collect();
        assert!(got == expected, "{name} decodes differently");
    }
}

#[test]
fn exif_orientation_is_applied() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("turned.jpg");
    save(&RgbImage::from_pixel(32, 16, Rgb([9, 9, 9])).into(), &path, ImageFormat::Jpeg);
    let plain = std::fs::read(&path).unwrap();
    // An EXIF block with orientation 6: turn by 90 degrees.
    let tiff = [b"Exif\0\0II*\0\x08\0\0\0".as_slice(), &[1, 0, 0x12, 1, 3, 0, 1, 0, 0, 0, 6, 0, 0, 0, 0, 0, 0, 0]].concat();
    let mut turned = plain[..2].to_vec();
    turned.extend([0xff, 0xe1]);
    turned.extend((tiff.len() as u16 + 2).to_be_bytes());
    turned.extend(&tiff);
    turned.extend(&plain[2..]);
    std::fs::write(&path, turned).unwrap();
    assert_eq!(Decoded::open(&path).unwrap().size(), [16, 32]);
}

#[test]
fn tiny_and_long_images_are_explained() {
    let folder = tempfile::tempdir().unwrap();
    for (w, h) in [(1, 1), (3, 500), (500, 3)] {
        let name = format!("{w}x{h}.png");
        save(&RgbImage::from_fn(w, h, |x, y| Rgb([x as u8, y as u8, 99])).into(), &folder.path().join(&name), ImageFormat::Png);
        succeed(folder.path(), ["explain", &name, "cat", "dog", "--npy"]);
    }
    // A grid that is not square, and one finer than the trained one.
    succeed(folder.path(), ["explain", "500x3.png", "cat", "dog", "--size", "160x96"]);
    // One that follows the image: as many patches as the model's own 144, in one row here.
    succeed(folder.path(), ["explain", "500x3.png", "cat", "dog", "--size", "aspect", "--json"]);
    let report = std::fs::read(folder.path().join("lancet-out/500x3.json")).unwrap();
    let report: serde_json::Value = serde_json::from_slice(&report).unwrap();
    assert_eq!(report["grid"], serde_json::json!([144, 1]));
    assert_eq!(report["input_size"], serde_json::json!([144 * 8, 8]));
}

#[test]
fn every_method_takes_a_grid_that_is_not_square() {
    let folder = tempfile::tempdir().unwrap();
    let image = root().join("weights/demo/scene.png");
    for method in lancet::Method::ALL {
        let run = ["explain", image.to_str().unwrap(), "house", "tree", "--json", "--size", "200x96", "--method", &method.name];
        succeed(folder.path(), run);
        let report = std::fs::read(folder.path().join("lancet-out/scene.json")).unwrap();
        let report: serde_json::Value = serde_json::from_slice(&report).unwrap();
        assert_eq!(report["grid"], serde_json::json!([25, 12]), "{}", method.name);
    }
}

#[test]
fn features_of_one_array_have_one_grid() {
    let folder = tempfile::tempdir().unwrap();
    let image = root().join("weights/demo/scene.png");
    save(&RgbImage::from_pixel(40, 40, Rgb([9, 99, 200])).into(), &folder.path().join("square.png"), ImageFormat::Png);
    let run = ["encode", image.to_str().unwrap(), "square.png", "--size", "aspect", "--out", "f.npy"];
    succeed(folder.path(), run);
    let out = crate::lancet(folder.path(), run.into_iter().chain(["--tokens"]));
    assert!(!out.status.success());
    let said = String::from_utf8_lossy(&out.stderr);
    assert!(said.contains("square.png") && said.contains("145 tokens, 141 in the image before"), "{said}");
}
