// Eight steps along K of four columns, or eight channels of four rows: two matrices.
struct Eight4 {
    low: mat4x4<f32>,
    high: mat4x4<f32>,
}

// acc + the eight steps `low`, `high` of a row times those of four columns; [i] of each half of b holds the columns at one step.
fn step8(low: vec4<f32>, high: vec4<f32>, b: Eight4, acc: vec4<f32>) -> vec4<f32> {
    return step4(high, b.high, step4(low, b.low, acc));
}
