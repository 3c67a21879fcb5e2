"""Countries and languages by code, by English name, and by what else people write."""

from __future__ import annotations

_COUNTRIES = """
AD Andorra; AE United Arab Emirates; AF Afghanistan; AG Antigua & Barbuda; AI Anguilla; AL Albania; AM Armenia
AO Angola; AQ Antarctica; AR Argentina; AS American Samoa; AT Austria; AU Australia; AW Aruba; AX Åland Islands
AZ Azerbaijan; BA Bosnia & Herzegovina; BB Barbados; BD Bangladesh; BE Belgium; BF Burkina Faso; BG Bulgaria
BH Bahrain; BI Burundi; BJ Benin; BL St Barthelemy; BM Bermuda; BN Brunei; BO Bolivia; BQ Caribbean NL; BR Brazil
BS Bahamas; BT Bhutan; BV Bouvet Island; BW Botswana; BY Belarus; BZ Belize; CA Canada; CC Cocos Islands
CD DR Congo; CF Central African Republic; CG Congo; CH Switzerland; CI Côte d'Ivoire; CK Cook Islands; CL Chile
CM Cameroon; CN China; CO Colombia; CR Costa Rica; CU Cuba; CV Cape Verde; CW Curaçao; CX Christmas Island
CY Cyprus; CZ Czech Republic; DE Germany; DJ Djibouti; DK Denmark; DM Dominica; DO Dominican Republic; DZ Algeria
EC Ecuador; EE Estonia; EG Egypt; EH Western Sahara; ER Eritrea; ES Spain; ET Ethiopia; FI Finland; FJ Fiji
FK Falkland Islands; FM Micronesia; FO Faroe Islands; FR France; GA Gabon; GB United Kingdom; GD Grenada; GE Georgia
GF French Guiana; GG Guernsey; GH Ghana; GI Gibraltar; GL Greenland; GM Gambia; GN Guinea; GP Guadeloupe
GQ Equatorial Guinea; GR Greece; GS South Georgia & the South Sandwich Islands; GT Guatemala; GU Guam
GW Guinea-Bissau; GY Guyana; HK Hong Kong; HM Heard Island & McDonald Islands; HN Honduras; HR Croatia; HT Haiti
HU Hungary; ID Indonesia; IE Ireland; IL Israel; IM Isle of Man; IN India; IO British Indian Ocean Territory
IQ Iraq; IR Iran; IS Iceland; IT Italy; JE Jersey; JM Jamaica; JO Jordan; JP Japan; KE Kenya; KG Kyrgyzstan
KH Cambodia; KI Kiribati; KM Comoros; KN St Kitts & Nevis; KP North Korea; KR South Korea; KW Kuwait
KY Cayman Islands; KZ Kazakhstan; LA Laos; LB Lebanon; LC St Lucia; LI Liechtenstein; LK Sri Lanka; LR Liberia
LS Lesotho; LT Lithuania; LU Luxembourg; LV Latvia; LY Libya; MA Morocco; MC Monaco; MD Moldova; ME Montenegro
MF Saint Martin; MG Madagascar; MH Marshall Islands; MK North Macedonia; ML Mali; MM Myanmar; MN Mongolia; MO Macau
MP Northern Mariana Islands; MQ Martinique; MR Mauritania; MS Montserrat; MT Malta; MU Mauritius; MV Maldives
MW Malawi; MX Mexico; MY Malaysia; MZ Mozambique; NA Namibia; NC New Caledonia; NE Niger; NF Norfolk Island
NG Nigeria; NI Nicaragua; NL Netherlands; NO Norway; NP Nepal; NR Nauru; NU Niue; NZ New Zealand; OM Oman; PA Panama
PE Peru; PF French Polynesia; PG Papua New Guinea; PH Philippines; PK Pakistan; PL Poland; PM St Pierre & Miquelon
PN Pitcairn; PR Puerto Rico; PS Palestine; PT Portugal; PW Palau; PY Paraguay; QA Qatar; RE Réunion; RO Romania
RS Serbia; RU Russia; RW Rwanda; SA Saudi Arabia; SB Solomon Islands; SC Seychelles; SD Sudan; SE Sweden
SG Singapore; SH St Helena; SI Slovenia; SJ Svalbard & Jan Mayen; SK Slovakia; SL Sierra Leone; SM San Marino
SN Senegal; SO Somalia; SR Suriname; SS South Sudan; ST Sao Tome & Principe; SV El Salvador; SX Sint Maarten
SY Syria; SZ Eswatini; TC Turks & Caicos Islands; TD Chad; TF French Southern Territories; TG Togo; TH Thailand
TJ Tajikistan; TK Tokelau; TL East Timor; TM Turkmenistan; TN Tunisia; TO Tonga; TR Turkey; TT Trinidad & Tobago
TV Tuvalu; TW Taiwan; TZ Tanzania; UA Ukraine; UG Uganda; UM US minor outlying islands; US United States; UY Uruguay
UZ Uzbekistan; VA Vatican City; VC St Vincent; VE Venezuela; VG British Virgin Islands; VI US Virgin Islands
VN Vietnam; VU Vanuatu; WF Wallis & Futuna; WS Samoa; YE Yemen; YT Mayotte; ZA South Africa; ZM Zambia; ZW Zimbabwe
"""

_LANGUAGES = """
ar ara Arabic; bg bul Bulgarian; bs bos Bosnian; ca cat Catalan; cs ces Czech; da dan Danish; de deu German
el ell Greek; en eng English; es spa Spanish; et est Estonian; eu eus Basque; fa fas Persian; fi fin Finnish
fr fra French; ga gle Irish; he heb Hebrew; hi hin Hindi; hr hrv Croatian; hu hun Hungarian; id ind Indonesian
is isl Icelandic; it ita Italian; ja jpn Japanese; ko kor Korean; lt lit Lithuanian; lv lav Latvian
mk mkd Macedonian; ms msa Malay; mt mlt Maltese; nb nob Norwegian; nl nld Dutch; nn nno Nynorsk; no nor Norsk
pl pol Polish; pt por Portuguese; ro ron Romanian; ru rus Russian; sk slk Slovak; sl slv Slovenian
sq sqi Albanian; sr srp Serbian; sv swe Swedish; th tha Thai; tr tur Turkish; uk ukr Ukrainian
vi vie Vietnamese; zh zho Chinese
"""


def _entries(text: str) -> list[str]:
    return [entry.strip() for entry in text.replace("\n", ";").split(";") if entry.strip()]


COUNTRIES: dict[str, str] = {entry[:2]: entry[3:] for entry in _entries(_COUNTRIES)}
"""English name by code (ISO 3166-1 alpha-2)."""

LANGUAGES: dict[str, str] = {entry[:2]: entry[7:] for entry in _entries(_LANGUAGES)}
"""English name by code (ISO 639-1)."""

_ALSO = {
    "uk": "GB",  # two letters that everybody writes and no standard knows
    "great britain": "GB",
    "england": "GB",
    "usa": "US",
    "united states of america": "US",
    "czechia": "CZ",
    "holland": "NL",
    "the netherlands": "NL",
    "korea, republic of": "KR",
    "republic of korea": "KR",
    "russian federation": "RU",
    "viet nam": "VN",
    "turkiye": "TR",
    "türkiye": "TR",
    "macedonia": "MK",
    "burma": "MM",
    "swaziland": "SZ",
    "ivory coast": "CI",
}

_CODE_OF = {
    **{code.lower(): code for code in COUNTRIES},
    **{name.lower(): code for code, name in COUNTRIES.items()},
    **{name.lower().replace("&", "and"): code for code, name in COUNTRIES.items()},
    **_ALSO,
}

_LANGUAGE_OF = {
    **{entry[:2]: entry[:2] for entry in _entries(_LANGUAGES)},
    **{entry[3:6]: entry[:2] for entry in _entries(_LANGUAGES)},
    **{entry[7:].lower(): entry[:2] for entry in _entries(_LANGUAGES)},
    "ger": "de",  # three letters that libraries use besides
    "fre": "fr",
    "dut": "nl",
    "gre": "el",
    "cze": "cs",
    "chi": "zh",
}


def country_code(text: str) -> str | None:
    """Two letters for a code or an English name."""
    return _CODE_OF.get(" ".join(text.lower().split()))


def language_code(text: str) -> str | None:
    """Two letters, with the country where one is given (`en-GB`), for a code or an English name."""
    word, mark, region = text.strip().replace("_", "-").partition("-")
    if (language := _LANGUAGE_OF.get(word.lower())) is None:
        return None
    if not mark:
        return language
    return f"{language}-{region.upper()}" if region.upper() in COUNTRIES else None
