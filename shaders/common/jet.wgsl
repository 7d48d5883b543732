// OpenCV's JET colour map in integers: level 0 is (0, 0, 128), 255 is (128, 0, 0).
fn jet(level: i32) -> vec3<i32> {
    let up = vec3<i32>(4 * level - 382, 4 * level - 128, 4 * level + 128);
    let down = vec3<i32>(1148 - 4 * level, 892 - 4 * level, 638 - 4 * level);
    let c = clamp(min(up, down), vec3<i32>(0), vec3<i32>(255));
    // OpenCV's table has one entry off the line: blue is 1, not 2, at level 159.
    return vec3<i32>(c.xy, select(c.z, 1, level == 159));
}

// The original demo: 0.4 image + 0.6 colour, cut to whole levels. In integers, so that every device agrees.
fn blend(pixel: u32, heat: f32) -> vec3<i32> {
    let level = i32(floor(255.0 * clamp(heat, 0.0, 1.0)));
    let image = vec3<i32>(i32(pixel & 255u), i32((pixel >> 8u) & 255u), i32((pixel >> 16u) & 255u));
    return (4 * image + 6 * jet(level)) / 10;
}
