"""Which language a text is in, by its English name."""

from __future__ import annotations

from functools import cache

from py3langid.langid import MODEL_FILE, LanguageIdentifier

UNKNOWN = "unknown"
"""The Arena's own word for a language that cannot be told."""

LANGUAGES = (
    "af Afrikaans,am Amharic,an Aragonese,ar Arabic,as Assamese,az Azerbaijani,ba Bashkir,be Belarusian,"
    "bg Bulgarian,bn Bengali,br Breton,bs Bosnian,ca Catalan,cs Czech,cy Welsh,da Danish,de German,dz Dzongkha,"
    "el Greek,en English,eo Esperanto,es Spanish,et Estonian,eu Basque,fa Persian,fi Finnish,fo Faroese,"
    "fr French,fy Frisian,ga Irish,gd Scottish Gaelic,gl Galician,gu Gujarati,ha Hausa,he Hebrew,hi Hindi,"
    "hr Croatian,ht Haitian Creole,hu Hungarian,hy Armenian,id Indonesian,ig Igbo,is Icelandic,it Italian,"
    "ja Japanese,jv Javanese,ka Georgian,kk Kazakh,km Khmer,kn Kannada,ko Korean,ku Kurdish,ky Kyrgyz,la Latin,"
    "lb Luxembourgish,lg Luganda,ln Lingala,lo Lao,lt Lithuanian,lv Latvian,mg Malagasy,mk Macedonian,"
    "ml Malayalam,mn Mongolian,mr Marathi,ms Malay,mt Maltese,my Burmese,ne Nepali,nl Dutch,"
    "nn Norwegian Nynorsk,no Norwegian,oc Occitan,om Oromo,or Odia,pa Punjabi,pl Polish,ps Pashto,pt Portuguese,"
    "qu Quechua,ro Romanian,ru Russian,rw Kinyarwanda,sa Sanskrit,se Northern Sami,si Sinhala,sk Slovak,"
    "sl Slovenian,sn Shona,so Somali,sq Albanian,sr Serbian,st Sesotho,sv Swedish,sw Swahili,ta Tamil,te Telugu,"
    "tg Tajik,th Thai,tk Turkmen,tl Tagalog,tr Turkish,tt Tatar,ug Uyghur,uk Ukrainian,ur Urdu,uz Uzbek,"
    "vi Vietnamese,vo Volapük,wa Walloon,xh Xhosa,yo Yoruba,zh Chinese,zu Zulu,zxx unknown"
)
"""The languages that are told apart, by ISO 639 code; `zxx` is what is in no language, such as sums."""

NAMES = dict(pair.split(maxsplit=1) for pair in LANGUAGES.split(","))


def language_of(text: str) -> str:
    """The name of the language, or UNKNOWN unless one is likelier than all others together."""
    code, probability = _identifier().classify(text)
    return NAMES[code] if probability > 0.5 else UNKNOWN


@cache
def _identifier() -> LanguageIdentifier:
    identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    identifier.set_languages(NAMES)
    return identifier
