//! Files as they should not be.

use jpeg_encoder::ColorType;
use proptest::prelude::*;

use super::writer::Coefficients;
use super::*;

const START_OF_SCAN: [u8; 2] = [0xff, 0xda];

fn files() -> Vec<Vec<u8>> {
    let coefficients = Coefficients::random(70, 50, &[(2, 2), (1, 1), (1, 1)], 3);
    vec![
        coefficients.sequential(true, 0),
        coefficients.sequential(false, 2),
        coefficients.progressive(0),
        coefficients.progressive(3),
        encoded((70, 50), ColorType::Rgb, |_| {}),
        encoded((40, 40), ColorType::CmykAsYcck, |encoder| {
            encoder.set_progressive(true);
        }),
    ]
}

#[test]
fn files_cut_short_show_what_is_there() {
    let file = encoded((64, 64), ColorType::Luma, |_| {});
    let scan = file.windows(2).position(|w| w == START_OF_SCAN).unwrap();
    let whole = decode(&file, Scale::Eighth).remove(0).samples;
    let half = usize::midpoint(file.len(), scan);
    let part = decode(&file[..half], Scale::Eighth).remove(0).samples;
    assert_eq!(whole[..24], part[..24]);
    assert_ne!(whole[48..], part[48..]);
    assert_eq!(part[48..], [128; 16]);
    let empty = Decoder::new(&file[..scan + 10]).unwrap();
    assert_eq!(empty.decode(Scale::Eighth), Err(Error::Broken));
}

#[test]
fn what_does_not_belong_between_segments_is_passed_over() {
    let file = encoded((64, 64), ColorType::Rgb, |_| {});
    let scan = file.windows(2).position(|w| w == START_OF_SCAN).unwrap();
    let mut odd = file[..scan].to_vec();
    odd.extend(b"junk\xff\x00\xff\xff\xff");
    odd.extend(&file[scan..file.len() - 2]);
    assert_eq!(decode(&odd, Scale::Half), decode(&file, Scale::Half));
}

#[test]
fn damage_ends_at_the_next_restart() {
    let coefficients = Coefficients::random(64, 64, &[(1, 1)], 5);
    let file = coefficients.sequential(true, 8);
    let markers: Vec<_> = (0..file.len() - 1)
        .filter(|&at| file[at] == 0xff && (0xd0..=0xd7).contains(&file[at + 1]))
        .collect();
    assert_eq!(markers.len(), 7);
    let whole = decode(&file, Scale::Eighth).remove(0).samples;

    // The second row loses its end, the fifth is lost with its marker.
    let mut damaged = file[..usize::midpoint(markers[0], markers[1])].to_vec();
    damaged.extend(&file[markers[1]..markers[3]]);
    damaged.extend(&file[markers[4]..]);
    let samples = decode(&damaged, Scale::Eighth).remove(0).samples;
    assert_eq!(samples[..8], whole[..8]);
    assert_ne!(samples[8..16], whole[8..16]);
    assert_eq!(samples[16..32], whole[16..32]);
    assert_eq!(samples[32..40], [128; 8]);
    assert_eq!(samples[40..], whole[40..]);
}

#[test]
fn tables_without_end_are_not_made() {
    let table = [&[0, 1][..], &[0; 15], &[0]].concat();
    let tables = table.repeat(3600);
    let mut bomb = vec![0xff, 0xd8];
    for _ in 0..2 {
        bomb.extend([0xff, 0xc4]);
        bomb.extend((tables.len() as u16 + 2).to_be_bytes());
        bomb.extend(&tables);
    }
    assert_eq!(Decoder::new(&bomb).err(), Some(Error::TooCostly));
}

#[test]
fn scans_without_end_are_not_read() {
    let coefficients = Coefficients::random(64, 64, &[(1, 1)], 5);
    let file = coefficients.progressive(0);
    let first = file.windows(2).position(|w| w == START_OF_SCAN).unwrap();
    let length = file[first + 2..]
        .windows(2)
        .position(|w| w == START_OF_SCAN);
    let scan = &file[first..first + 2 + length.unwrap()];
    let mut bomb = file[..first].to_vec();
    (0..2000).for_each(|_| bomb.extend(scan));
    let result = Decoder::new(&bomb).unwrap().decode(Scale::Half);
    assert_eq!(result, Err(Error::TooCostly));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn no_damage_is_fatal(
        file in prop::sample::select(files()),
        bytes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..12),
        end in any::<prop::sample::Index>(),
        scale in prop::sample::select(&SCALES[..]),
    ) {
        let mut file = file;
        for (at, byte) in bytes {
            let at = at.index(file.len());
            file[at] = byte;
        }
        // Every other file is left whole.
        file.truncate(end.index(2 * file.len()) + 1);
        let decoder = Decoder::new(&file);
        if let Ok(decoder) = decoder && decoder.header().width < 1000 && decoder.header().height < 1000 {
            let _ = decoder.decode(scale);
        }
    }

    #[test]
    fn no_data_is_fatal(
        data in prop::collection::vec(prop_oneof![Just(0xff), any::<u8>()], 0..3000),
        progressive in any::<bool>(),
        scale in prop::sample::select(&SCALES[..]),
    ) {
        let coefficients = Coefficients::random(100, 90, &[(2, 1), (1, 1), (1, 2)], 1);
        let mut file = if progressive { coefficients.progressive(5) } else { coefficients.sequential(true, 0) };
        let scan = file.windows(2).position(|w| w == START_OF_SCAN).unwrap();
        file.truncate(scan + 14);
        file.extend(data);
        let _ = Decoder::new(&file).unwrap().decode(scale);
    }
}
