//! Code pages, and the character classes that betray mojibake.
//!
//! Derived from ftfy 6.3.1 (`badness.py`, `chardata.py`), Copyright 2023 Robyn Speer, Apache License 2.0; changed: written
//! as compact Rust tables.

/// Upper halves of the single-byte encodings text is mistaken for, after Latin-1, in the order they are tried.
/// `_` stands for the character with the byte's own number, which is also how the holes of the Windows pages
/// are filled; so do the bytes beyond the end of a table.
pub(super) const PAGES: [&str; 9] = [
    // windows-1252
    "€_‚ƒ„…†‡ˆ‰Š‹Œ_Ž__‘’“”•–—˜™š›œ_žŸ",
    // windows-1251
    "ЂЃ‚ѓ„…†‡€‰Љ‹ЊЌЋЏђ‘’“”•–—_™љ›њќћџ_ЎўЈ_Ґ__Ё_Є____Ї__Ііґ___ё№є_јЅѕї\
         АБВГДЕЖЗИЙКЛМНОПРСТУФХЦЧШЩЪЫЬЭЮЯабвгдежзийклмнопрстуфхцчшщъыьэюя",
    // windows-1250
    "€_‚_„…†‡_‰Š‹ŚŤŽŹ_‘’“”•–—_™š›śťžź_ˇ˘Ł_Ą____Ş____Ż__˛ł_____ąş_Ľ˝ľż\
         Ŕ__Ă_ĹĆ_Č_Ę_Ě__ĎĐŃŇ__Ő__ŘŮ_Ű__Ţ_ŕ__ă_ĺć_č_ę_ě__ďđńň__ő__řů_ű__ţ˙",
    // windows-1253
    "€_‚ƒ„…†‡_‰_‹_____‘’“”•–—_™_›_____΅Ά____________―____΄___ΈΉΊ_Ό_ΎΏ\
         ΐΑΒΓΔΕΖΗΘΙΚΛΜΝΞΟΠΡ_ΣΤΥΦΧΨΩΪΫάέήίΰαβγδεζηθικλμνξοπρςστυφχψωϊϋόύώ",
    // windows-1254
    "€_‚ƒ„…†‡ˆ‰Š‹Œ____‘’“”•–—˜™š›œ__Ÿ________________________________\
         ________________Ğ____________İŞ_________________ğ____________ış",
    // windows-1257
    "€_‚_„…†‡_‰_‹_¨ˇ¸_‘’“”•–—_™_›_¯˛_________Ø_Ŗ____Æ________ø_ŗ____æ\
         ĄĮĀĆ__ĘĒČ_ŹĖĢĶĪĻŠŃŅ_Ō___ŲŁŚŪ_ŻŽ_ąįāć__ęēč_źėģķīļšńņ_ō___ųłśū_żž˙",
    // iso-8859-2
    "_________________________________Ą˘Ł_ĽŚ__ŠŞŤŹ_ŽŻ_ą˛ł_ľśˇ_šşťź˝žż\
         Ŕ__Ă_ĹĆ_Č_Ę_Ě__ĎĐŃŇ__Ő__ŘŮ_Ű__Ţ_ŕ__ă_ĺć_č_ę_ě__ďđńň__ő__řů_ű__ţ˙",
    // macroman
    "ÄÅÇÉÑÖÜáàâäãåçéèêëíìîïñóòôöõúùûü†°__§•¶ß®_™´¨≠ÆØ∞_≤≥¥_∂∑∏π∫ªºΩæø\
         ¿¡¬√ƒ≈∆«»…\u{a0}ÀÃÕŒœ–—“”‘’÷◊ÿŸ⁄€‹›ﬁﬂ‡·‚„‰ÂÊÁËÈÍÎÏÌÓÔ\u{f8ff}ÒÚÛÙıˆ˜¯˘˙˚¸˝˛ˇ",
    // cp437
    "ÇüéâäàåçêëèïîìÄÅÉæÆôöòûùÿÖÜ¢£¥₧ƒáíóúñÑªº¿⌐¬½¼¡«»░▒▓│┤╡╢╖╕╣║╗╝╜╛┐\
         └┴┬├─┼╞╟╚╔╩╦╠═╬╧╨╤╥╙╘╒╓╫╪┘┌█▄▌▐▀αßΓπΣσµτΦΘΩδ∞φε∩≡±≥≤⌠⌡÷≈°∙·√ⁿ²■\u{a0}",
];
/// Index of Windows-1252 in [`PAGES`].
pub(super) const WINDOWS_1252: usize = 0;
/// The first six of [`PAGES`] are Windows pages: there U+FFFD stands for a lost byte.
pub(super) const WINDOWS_PAGES: usize = 6;
/// Index of MacRoman in [`PAGES`].
pub(super) const MAC_ROMAN: usize = 7;

/// Character classes by name, as bodies of a regex class.
pub(super) const CLASSES: [(&str, &str); 14] = [
    ("{c1}", "\u{80}-\u{9f}"),
    ("{common}", "\u{a0}\u{ad}´·\u{2013}-\u{2015}\u{2019}\u{2026}"),
    (
        "{bad}",
        "¤¦¨ª¬¯¸ºƒ\u{2c6}\u{2c7}\u{2d8}\u{2db}\u{2dc}\u{2020}\u{2021}\u{2030}\u{2310}\u{25ca}\
        \u{fffd}",
    ),
    ("{law}", "§¶"),
    ("{currency}", "¢£¥\u{20a7}€"),
    ("{start_punctuation}", "¡©«¿΄΅\u{2018}\u{201a}\u{201c}\u{201e}\u{2022}\u{2039}\u{f8ff}"),
    ("{end_punctuation}", "®»\u{2dd}\u{201d}\u{203a}\u{2122}"),
    (
        "{numeric}",
        "±-³µ¹¼-¾×÷\u{2044}\u{2116}\u{2202}\u{2206}\u{220f}\u{2211}\u{221a}\u{221e}\u{2229}\
        \u{222b}\u{2248}\u{2260}\u{2261}\u{2264}\u{2265}",
    ),
    ("{kaomoji}", "°Ò-ÖÙ-Üò-öø-üŌŐŪŲ"),
    ("{upper_accented}", "À-ÑØÜÝĀĂĄĆČĎĐĒĖĘĚĞĢĪİĶĹĻĽŁŃŅŇŒŘŚŞŠŢŤŮŰŸŹŻŽҐ"),
    ("{lower_accented}", "ß-ñüāăąćčďđēėęěğģīįķĺļľłœŕśşšťźżžґ\u{fb01}\u{fb02}"),
    ("{upper_common}", "ÞΆΈ-ΊΌΎΏΑ-ΫЁ-Я"),
    ("{lower_common}", "ά-ωа-џ"),
    (
        "{box}",
        "\u{2502}\u{250c}\u{2510}\u{2518}\u{251c}\u{2524}\u{252c}\u{253c}\u{2550}-\u{256c}\
        \u{2580}\u{2584}\u{2588}\u{258c}\u{2590}-\u{2593}",
    ),
];

/// Neighbours that hardly occur in real text: one match means mojibake. Order does not matter.
#[rustfmt::skip]
pub(super) const BADNESS: [&str; 37] = [
    r"[{c1}]",
    r"[{bad}{lower_accented}{upper_accented}{box}{start_punctuation}{end_punctuation}{currency}{numeric}{law}][{bad}]",
    r"[a-zA-Z][{lower_common}{upper_common}][{bad}]",
    r"[{bad}][{lower_accented}{upper_accented}{box}{start_punctuation}{end_punctuation}{currency}{numeric}{law}]",
    r"[{lower_accented}{lower_common}{box}{end_punctuation}{currency}{numeric}][{upper_accented}]",
    r"[{box}{end_punctuation}{currency}{numeric}][{lower_accented}]",
    r"[{lower_accented}{box}{end_punctuation}][{currency}]",
    r"[\s\x1c-\x1f][{upper_accented}][{currency}]",
    r"[{upper_accented}{box}][{numeric}{law}]",
    r"[{lower_accented}{upper_accented}{box}{currency}{end_punctuation}][{start_punctuation}][{numeric}]",
    r"[{lower_accented}{upper_accented}{currency}{numeric}{box}{law}][{end_punctuation}][{start_punctuation}]",
    r"[{currency}{numeric}{box}][{start_punctuation}]",
    r"[a-z][{upper_accented}][{start_punctuation}{currency}]",
    r"[{box}][{kaomoji}]",
    r"[{lower_accented}{upper_accented}{currency}{numeric}{start_punctuation}{end_punctuation}{law}][{box}]",
    r"[{box}][{end_punctuation}]",
    r"[{lower_accented}{upper_accented}][{start_punctuation}{end_punctuation}][\p{L}\p{N}_]",
    r"[Œœ][^A-Za-z]",
    r"[{upper_accented}]°",
    r"[ÂÃÎÐ][€œŠš¢£Ÿž\xa0\xad®©°·»{start_punctuation}{end_punctuation}–—´]",
    r"×[²³]",
    r"[ØÙ][{common}{currency}{bad}{numeric}{start_punctuation}ŸŠ®°µ»][ØÙ][{common}{currency}{bad}{numeric}{start_punctuation}ŸŠ®°µ»]",
    r"à[²µ¹¼½¾]",
    r"√[±∂†≠®™´≤≥¥µø]",
    r"≈[°¢]",
    r"‚Ä[ìîïòôúùû†°¢π]",
    r"‚[âó][àä°ê]",
    r"вЂ",
    r"[ВГРС][{c1}{bad}{start_punctuation}{end_punctuation}{currency}°µ][ВГРС]",
    r"ГўВЂВ.[A-Za-z ]",
    r"Ã[\xa0¡]",
    r"[a-z][\s\x1c-\x1f]?[ÃÂ][ ]",
    r"^[ÃÂ][ ]",
    r"[a-z.,?!{end_punctuation}]Â[ {start_punctuation}{end_punctuation}]",
    r"β€[™\xa0Ά\xad®°]",
    r"[ΒΓΞΟ][{c1}{bad}{start_punctuation}{end_punctuation}{currency}°][ΒΓΞΟ]",
    r"ā€",
];

/// Letters that stand for the first byte of a two-byte UTF-8 sequence.
pub(super) const FIRST_OF_2: &str = "Â-ßĀĂĆČĎĐĒĖĘĚĞĢĪİĶĹĻŁŃŅŇŌŐŘŚŞŠŢŪŮŰŲŹŻŽΒ-ΡΣ-ίВ-Я";
/// Letters that stand for the first byte of a three-byte UTF-8 sequence.
pub(super) const FIRST_OF_3: &str = "à-ïāăąćčďēėęěģīįķĺļŕźΰ-οа-п";
/// Letters that stand for the first byte of a four-byte UTF-8 sequence.
pub(super) const FIRST_OF_4: &str = "ðóđğšπσру";
/// Characters that stand for the bytes that follow; a space may stand for byte A0.
pub(super) const CONTINUATION: &str = " \u{80}-¿ÆØæøĄąĽľŁłŒœŖŗŚśŞ-šŤťŸ-žƒ\u{2c6}\u{2c7}\u{2d8}\u{2db}-\u{2dd}΄-ΆΈ-ΊΌΎΏЁ-ЌЎЏё-ќў\
    џҐґ\u{2013}-\u{2015}\u{2018}-\u{201a}\u{201c}-\u{201e}\u{2020}-\u{2022}\u{2026}\u{2030}\
    \u{2039}\u{203a}€\u{2116}\u{2122}";
/// The same without those that are common in real text: before them a sequence cannot begin.
pub(super) const CONTINUATION_STRICT: &str = "\u{80}-¿ÆØæøĄąĽľŁłŒœŖŗŚśŞ-šŤťŸ-žƒ\u{2c6}\u{2c7}\u{2d8}\u{2db}-\u{2dd}΄-ΆΈ-ΊΌΎΏЁ-ЌЎЏё-ќўџ\
    Ґґ\u{2020}\u{2021}\u{2030}\u{2039}\u{203a}€\u{2116}\u{2122}";
