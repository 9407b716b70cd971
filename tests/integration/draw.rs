//! Pictures by way of the library's public face: what is drawn can be decoded again by anyone's PNG reader.

use anomalyd::draw::png::png16;

#[test]
fn a_16_bit_png_read_by_another_decoder_gives_the_values_back() {
    let pixels: Vec<f32> = (0..64 * 48).map(|at| 1000.0 + 20.0 * ((at as f32) * 0.37).sin()).collect();
    let file = png16(64, 48, 1, &pixels);
    let mut reader = png::Decoder::new(std::io::Cursor::new(&file.bytes)).read_info().unwrap();
    let mut raw = vec![0; reader.output_buffer_size().unwrap()];
    let info = reader.next_frame(&mut raw).unwrap();
    assert_eq!((info.width, info.height, info.bit_depth), (64, 48, png::BitDepth::Sixteen));
    for (value, level) in pixels.iter().zip(raw.chunks(2)) {
        let back = file.offset + file.scale * f64::from(u16::from_be_bytes([level[0], level[1]]));
        assert!((back - f64::from(*value)).abs() <= 0.5 * file.scale + 1e-4, "{back} {value}");
    }
}
