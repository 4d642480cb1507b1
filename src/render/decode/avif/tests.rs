//! The pictures are of 4 × 2 pixels, the left half of them rgb(200, 100, 50), the
//! right half rgb(20, 60, 220), made by `avifenc -s 6 --min 0 --max 4` of libavif
//! 0.11.1 with the options that stand beside each.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::*;
use crate::render::picture::Orientation;

/// `-y 420`
const YUV_420: &str = "\
    AAAAIGZ0eXBhdmlmAAAAAGF2aWZtaWYxbWlhZk1BMUIAAADybWV0YQAAAAAAAAAoaGRscgAAAAAAAAAAcGljdAAA\
    AAAAAAAAAAAAAGxpYmF2aWYAAAAADnBpdG0AAAAAAAEAAAAeaWxvYwAAAABEAAABAAEAAAABAAABGgAAADAAAAAo\
    aWluZgAAAAAAAQAAABppbmZlAgAAAAABAABhdjAxQ29sb3IAAAAAamlwcnAAAABLaXBjbwAAABRpc3BlAAAAAAAA\
    AAQAAAACAAAAEHBpeGkAAAAAAwgICAAAAAxhdjFDgQAMAAAAABNjb2xybmNseAABAA0ABoAAAAAXaXBtYQAAAAAA\
    AAABAAEEAQKDBAAAADhtZGF0EgAKCBgEOwQENBoQMiIQgAAAUEHBvApd6LMBVN+1VU7SQAJTDrRaxwxBoJiOookg";
/// `-y 422 -d 10 -r limited --cicp 1/13/1`
const BT709_LIMITED_10_BIT: &str = "\
    AAAAHGZ0eXBhdmlmAAAAAGF2aWZtaWYxbWlhZgAAAPJtZXRhAAAAAAAAAChoZGxyAAAAAAAAAABwaWN0AAAAAAAA\
    AAAAAAAAbGliYXZpZgAAAAAOcGl0bQAAAAAAAQAAAB5pbG9jAAAAAEQAAAEAAQAAAAEAAAEWAAAANQAAAChpaW5m\
    AAAAAAABAAAAGmluZmUCAAAAAAEAAGF2MDFDb2xvcgAAAABqaXBycAAAAEtpcGNvAAAAFGlzcGUAAAAAAAAABAAA\
    AAIAAAAQcGl4aQAAAAADCgoKAAAADGF2MUOBQEgAAAAAE2NvbHJuY2x4AAEADQABAAAAABdpcG1hAAAAAAAAAAEA\
    AQQBAoMEAAAAPW1kYXQSAAoIWAQ7EgIaAiAyJxCAAABQQcG8CpW3Obgs132X8kv1L+w9qTFoEera1wR2TSQv7Vp3\
    QA==";
/// `-y 444 -d 12 --cicp 9/13/9`
const BT2020_12_BIT: &str = "\
    AAAAHGZ0eXBhdmlmAAAAAGF2aWZtaWYxbWlhZgAAAPJtZXRhAAAAAAAAAChoZGxyAAAAAAAAAABwaWN0AAAAAAAA\
    AAAAAAAAbGliYXZpZgAAAAAOcGl0bQAAAAAAAQAAAB5pbG9jAAAAAEQAAAEAAQAAAAEAAAEWAAAAPwAAAChpaW5m\
    AAAAAAABAAAAGmluZmUCAAAAAAEAAGF2MDFDb2xvcgAAAABqaXBycAAAAEtpcGNvAAAAFGlzcGUAAAAAAAAABAAA\
    AAIAAAAQcGl4aQAAAAADDAwMAAAADGF2MUOBQGAAAAAAE2NvbHJuY2x4AAkADQAJgAAAABdpcG1hAAAAAAAAAAEA\
    AQQBAoMEAAAAR21kYXQSAAoIWAQ7GhIaExAyMRCAAABQQcG5rPhpmBVH+91qdYaWmwi8TeWGLnvh94FyvrLN1Ydg\
    jNyGMUeKZj4J7YA=";
/// `-y 400`
const GRAY: &str = "\
    AAAAHGZ0eXBhdmlmAAAAAGF2aWZtaWYxbWlhZgAAAPBtZXRhAAAAAAAAAChoZGxyAAAAAAAAAABwaWN0AAAAAAAA\
    AAAAAAAAbGliYXZpZgAAAAAOcGl0bQAAAAAAAQAAAB5pbG9jAAAAAEQAAAEAAQAAAAEAAAEUAAAAIwAAAChpaW5m\
    AAAAAAABAAAAGmluZmUCAAAAAAEAAGF2MDFDb2xvcgAAAABoaXBycAAAAElpcGNvAAAAFGlzcGUAAAAAAAAABAAA\
    AAIAAAAOcGl4aQAAAAABCAAAAAxhdjFDgQAcAAAAABNjb2xybmNseAABAA0ABoAAAAAXaXBtYQAAAAAAAAABAAEE\
    AQKDBAAAACttZGF0EgAKCBgEOwwENBqAMhUQgAABQApg1zyaokDHyVRS4d7iI7o=";
/// `-l`
const IDENTITY: &str = "\
    AAAAIGZ0eXBhdmlmAAAAAGF2aWZtaWYxbWlhZk1BMUEAAADybWV0YQAAAAAAAAAoaGRscgAAAAAAAAAAcGljdAAA\
    AAAAAAAAAAAAAGxpYmF2aWYAAAAADnBpdG0AAAAAAAEAAAAeaWxvYwAAAABEAAABAAEAAAABAAABGgAAACcAAAAo\
    aWluZgAAAAAAAQAAABppbmZlAgAAAAABAABhdjAxQ29sb3IAAAAAamlwcnAAAABLaXBjbwAAABRpc3BlAAAAAAAA\
    AAQAAAACAAAAEHBpeGkAAAAAAwgICAAAAAxhdjFDgSAAAAAAABNjb2xybmNseAABAA0AAIAAAAAXaXBtYQAAAAAA\
    AAABAAEEAQKDBAAAAC9tZGF0EgAKBzgEOwgIaAEyGhAAAIulLfjPi6hKzz3/33mHTQaIP8ibUOok";
/// `-y 444 (right half of alpha 128)`
const ALPHA: &str = "\
    AAAAIGZ0eXBhdmlmAAAAAGF2aWZtaWYxbWlhZk1BMUEAAAGNbWV0YQAAAAAAAAAoaGRscgAAAAAAAAAAcGljdAAA\
    AAAAAAAAAAAAAGxpYmF2aWYAAAAADnBpdG0AAAAAAAEAAAAsaWxvYwAAAABEAAACAAEAAAABAAABygAAADUAAgAA\
    AAEAAAG1AAAAFQAAAEJpaW5mAAAAAAACAAAAGmluZmUCAAAAAAEAAGF2MDFDb2xvcgAAAAAaaW5mZQIAAAAAAgAA\
    YXYwMUFscGhhAAAAABppcmVmAAAAAAAAAA5hdXhsAAIAAQABAAAAw2lwcnAAAACdaXBjbwAAABRpc3BlAAAAAAAA\
    AAQAAAACAAAAEHBpeGkAAAAAAwgICAAAAAxhdjFDgSAAAAAAABNjb2xybmNseAABAA0ABoAAAAAOcGl4aQAAAAAB\
    CAAAAAxhdjFDgQAcAAAAADhhdXhDAAAAAHVybjptcGVnOm1wZWdCOmNpY3A6c3lzdGVtczphdXhpbGlhcnk6YWxw\
    aGEAAAAAHmlwbWEAAAAAAAAAAgABBAECgwQAAgQBBYYHAAAAUm1kYXQSAAoFGAQ7CoAyChAAhqWB4y51CxESAAoI\
    OAQ7CAhoNIAyJxCAAABQQcG8Cl3oswFU37VVTtJAAlMOtF+JOy0cuGQSSFX5cNNsLA==";
/// `-y 444 -p (the same)`
const PREMULTIPLIED: &str = "\
    AAAAIGZ0eXBhdmlmAAAAAGF2aWZtaWYxbWlhZk1BMUEAAAGbbWV0YQAAAAAAAAAoaGRscgAAAAAAAAAAcGljdAAA\
    AAAAAAAAAAAAAGxpYmF2aWYAAAAADnBpdG0AAAAAAAEAAAAsaWxvYwAAAABEAAACAAEAAAABAAAB2AAAADQAAgAA\
    AAEAAAHDAAAAFQAAAEJpaW5mAAAAAAACAAAAGmluZmUCAAAAAAEAAGF2MDFDb2xvcgAAAAAaaW5mZQIAAAAAAgAA\
    YXYwMUFscGhhAAAAAChpcmVmAAAAAAAAAA5wcmVtAAEAAQACAAAADmF1eGwAAgABAAEAAADDaXBycAAAAJ1pcGNv\
    AAAAFGlzcGUAAAAAAAAABAAAAAIAAAAQcGl4aQAAAAADCAgIAAAADGF2MUOBIAAAAAAAE2NvbHJuY2x4AAEADQAG\
    gAAAAA5waXhpAAAAAAEIAAAADGF2MUOBABwAAAAAOGF1eEMAAAAAdXJuOm1wZWc6bXBlZ0I6Y2ljcDpzeXN0ZW1z\
    OmF1eGlsaWFyeTphbHBoYQAAAAAeaXBtYQAAAAAAAAACAAEEAQKDBAACBAEFhgcAAABRbWRhdBIACgUYBDsKgDIK\
    EACGpYHjLnULERIACgg4BDsICGg0gDImEIAAAFBBvlYkp/EwexmgVDZnrRaqJJH0eozdl6rjW1riPNMDAxg=";
/// `-y 444 --irot 1 --imir 1`
const TURNED: &str = "\
    AAAAIGZ0eXBhdmlmAAAAAGF2aWZtaWYxbWlhZk1BMUEAAAEGbWV0YQAAAAAAAAAoaGRscgAAAAAAAAAAcGljdAAA\
    AAAAAAAAAAAAAGxpYmF2aWYAAAAADnBpdG0AAAAAAAEAAAAeaWxvYwAAAABEAAABAAEAAAABAAABLgAAADUAAAAo\
    aWluZgAAAAAAAQAAABppbmZlAgAAAAABAABhdjAxQ29sb3IAAAAAfmlwcnAAAABdaXBjbwAAABRpc3BlAAAAAAAA\
    AAQAAAACAAAAEHBpeGkAAAAAAwgICAAAAAxhdjFDgSAAAAAAABNjb2xybmNseAABAA0ABoAAAAAJaXJvdAEAAAAJ\
    aW1pcgEAAAAZaXBtYQAAAAAAAAABAAEGAQKDBIWGAAAAPW1kYXQSAAoIOAQ7CAhoNIAyJxCAAABQQcG8Cl3oswFU\
    37VVTtJAAlMOtF+JOy0cuGQSSFX5cNNsLA==";

const LEFT: [u8; 3] = [200, 100, 50];
const RIGHT: [u8; 3] = [20, 60, 220];
const LIMITS: Limits = Limits {
    source_bytes: 1 << 20,
    pixels: 8,
    frame_bytes: 48,
};

fn file(text: &str) -> Vec<u8> {
    STANDARD.decode(text).unwrap()
}

fn decoded(file: &[u8]) -> Result<Picture, Refusal> {
    decode(file, Order { side: 50 }, &LIMITS)
}

fn samples(text: &str) -> Samples {
    let picture = decoded(&file(text)).unwrap();
    assert_eq!((picture.width, picture.height), (4, 2));
    picture.samples
}

fn assert_close(found: &[u8], wanted: &[u8]) {
    assert_eq!(found.len(), wanted.len());
    let close = found.iter().zip(wanted).all(|(a, &b)| a.abs_diff(b) < 5);
    assert!(close, "{found:?} is not near {wanted:?}");
}

#[test]
fn planes_as_jfif_has_them_are_handed_over() {
    let Samples::YCbCr([luma, cb, cr]) = samples(YUV_420) else {
        panic!("not planes");
    };
    assert_eq!((luma.width, luma.height, luma.extent), (4, 2, (4.0, 2.0)));
    assert_eq!((cb.width, cb.height, cb.extent), (2, 1, (2.0, 1.0)));
    assert_eq!(cr.extent, cb.extent);
    assert_close(&BT601.rgb(luma.data[0], cb.data[0], cr.data[0]), &LEFT);
    assert_close(&BT601.rgb(luma.data[7], cb.data[1], cr.data[1]), &RIGHT);
}

#[test]
fn other_colours_depths_and_ranges_are_converted() {
    for text in [BT709_LIMITED_10_BIT, BT2020_12_BIT, IDENTITY] {
        let Samples::Rgb(raster) = samples(text) else {
            panic!("not RGB");
        };
        assert_eq!(raster.extent, (4.0, 2.0));
        assert_close(&raster.data[..3], &LEFT);
        assert_close(&raster.data[21..], &RIGHT);
    }
    let Samples::Gray(raster) = samples(GRAY) else {
        panic!("not gray");
    };
    assert_close(&raster.data, &[124, 124, 66, 66, 124, 124, 66, 66]);
}

#[test]
fn alpha_is_told_and_not_multiplied() {
    for text in [ALPHA, PREMULTIPLIED] {
        let Samples::Rgba(raster) = samples(text) else {
            panic!("not RGBA");
        };
        assert_close(&raster.data[..4], &[200, 100, 50, 255]);
        assert_close(&raster.data[28..], &[20, 60, 220, 128]);
    }
}

#[test]
fn turns_of_the_container_are_told() {
    let picture = decoded(&file(TURNED)).unwrap();
    assert_eq!(picture.orientation, Orientation::Transversed);
}

#[test]
fn large_planes_are_reduced_together() {
    let stream = AvifData::from_reader(&mut &file(YUV_420)[..])
        .unwrap()
        .primary_item;
    let order = Order { side: 1 };
    let frame = decode_item(&stream, order, &LIMITS).unwrap();
    let Samples::YCbCr([luma, cb, cr]) = opaque(&frame, Some((6, true)), order).unwrap() else {
        panic!("not planes");
    };
    // 4 × 2 to 1 × 1, by 2 × 1: rows cannot be halved without the colours'.
    assert_eq!((luma.width, luma.height), (2, 2));
    assert_eq!((cb.width, cb.height), (2, 1));
    assert_eq!((cb.extent, cr.extent), ((2.0, 1.0), (2.0, 1.0)));
}

#[test]
fn other_brands_before_are_no_obstacle_and_grids_are() {
    let replaced = |from: &[u8], to: &[u8]| {
        let mut file = file(YUV_420);
        let at = file.windows(4).position(|found| found == from).unwrap();
        file[at..at + 4].copy_from_slice(to);
        decoded(&file)
    };
    assert!(replaced(b"avif", b"mif1").is_ok());
    assert_eq!(replaced(b"av01", b"grid"), Err(Refusal::Broken));
}

#[test]
fn what_is_too_large_is_refused_by_its_header() {
    let file = file(YUV_420);
    let order = Order { side: 50 };
    let small = Limits {
        pixels: 7,
        ..LIMITS
    };
    assert_eq!(decode(&file, order, &small), Err(Refusal::TooLarge));
    let small = Limits {
        frame_bytes: 23,
        ..LIMITS
    };
    assert_eq!(decode(&file, order, &small), Err(Refusal::TooLarge));
}

#[test]
fn damaged_files_are_broken() {
    // Files cut off anywhere run into a debug assertion of `avif-parse` 2.1.0,
    // and are an error without it.
    for length in [0, 7, 8, 32] {
        assert_eq!(
            decoded(&file(YUV_420)[..length]),
            Err(Refusal::Broken),
            "{length}"
        );
    }
    for text in [YUV_420, ALPHA] {
        let mut file = file(text);
        let at = file.windows(4).position(|found| found == b"mdat").unwrap();
        file[at + 4..].fill(0);
        assert_eq!(decoded(&file), Err(Refusal::Broken));
    }
}
