// acc + a times the 4 x 4 matrix b, whose [i] belongs to a[i]: four steps along K of four columns.
fn step4(a: vec4<f32>, b: mat4x4<f32>, acc: vec4<f32>) -> vec4<f32> {
    return fma(vec4<f32>(a.w), b[3], fma(vec4<f32>(a.z), b[2], fma(vec4<f32>(a.y), b[1], fma(vec4<f32>(a.x), b[0], acc))));
}
