// Eight f32 as four 64-bit words: a load or store of them costs a CPU driver what one of four does.
fn two_floats(word: u64) -> vec2<f32> {
    return vec2<f32>(bitcast<f32>(u32(word & 0xfffffffflu)), bitcast<f32>(u32(word >> 32u)));
}

fn word_of(v: vec2<f32>) -> u64 {
    return u64(bitcast<u32>(v.x)) | (u64(bitcast<u32>(v.y)) << 32u);
}

fn low_floats(v: vec4<u64>) -> vec4<f32> {
    return vec4<f32>(two_floats(v.x), two_floats(v.y));
}

fn high_floats(v: vec4<u64>) -> vec4<f32> {
    return vec4<f32>(two_floats(v.z), two_floats(v.w));
}

fn eight_floats(low: vec4<f32>, high: vec4<f32>) -> vec4<u64> {
    return vec4<u64>(word_of(low.xy), word_of(low.zw), word_of(high.xy), word_of(high.zw));
}
