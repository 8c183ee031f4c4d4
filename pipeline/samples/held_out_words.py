"""Words of the held-out family of open values: no list that the embedded model is trained on holds one of them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class WordLists:
    """What names of people, places, companies and goods are drawn from."""

    first_names: tuple[str, ...]
    last_names: tuple[str, ...]
    cities: tuple[str, ...]
    company_words: tuple[str, ...]
    company_suffixes: tuple[str, ...]
    items: tuple[str, ...]


def _split(words: str) -> tuple[str, ...]:
    return tuple(words.split("|"))


HELD_OUT_WORDS = WordLists(
    first_names=_split(
        "Abb|Abdirahman|Adelynn|Agness|Akmaral|Aldar|Alexis|Alwilda|Amaira|Anar|Angelika|Angie|Anjelica|"
        "Anna-Lisa|Annelene|Antionette|Arah|Athanasios|Bassí|Bee|Bieke|Brennen|Börje|Cathriona|Cecília|Chaitanya|"
        "Christian|Clara|Corliss|Crockett|Danu|Detlev|Diogo|Ean|Eilish|Einína|Elsý|Elçin|Erşat|Fionnuala|"
        "Frederikke|Fuller|Garett|Georgianna|Gianluca|Graves|Gustas|Guðborg|Guðni|Gökçe|Gústav|Gülselin|Günver|"
        "Hafgrímur|Heba|Hege|Hildegunde|Hlaðgerður|Hunalp|Hörður|Ingiborg|Irmhild|Ivan|Jamaal|Janis|Jaquan|"
        "Jaslyn|Jayde|Jazmyne|Jos|Kasimir|Kasper|Kisha|Kornel|Lessie|Lissy|Ludwig|Léonce|Mahala|Mannie|"
        "Marie-José|Martino|Meşhur|Milovan|Mirjana|Nakif|Nasuf|Natanael|Nataša|Niina|Noman|Olli|Oqtay|Ottavio|"
        "Patrice|Phyliss|Pluma|Puccio|Raisa|Rebeka|Rebihat|Reed|Rose-Marie|Roseline|Sammie|Sandor|Sandrine|"
        "Sathvik|Shahina|Sherryl|Sigurásta|Siper|Steina|Steve|Stéphane|Svätopluk|Tahmeed|Taurean|Terrill|Tine|"
        "Tobias|Tola|Torfheiður|Törel|Unnati|Valeriu|Vinzenz|Vita|Warda|Wilfriede|Wirt|Yalçın|Yazmín|Yessenia|"
        "Ylenia|Zahnya|Zashil|Zennun|Zunilda|Ângelo"
    ),
    last_names=_split(
        "Ampoma|Ankra|Arya|Arzulu|Assunção|Bartoletti|Bodoni|Borrani|Bradić|Cheema|Chrétien|Corley|Cossy|Cregan|"
        "Crona|Cummiskey|Cúndún|Dalla|Dančáková|Davenport|Davitt|De jesus|Dekýš|Duque|Engdahl|Ercegović|Faloye|"
        "Feliciano|Foyle|Franz|Gebhezi|Gedeza|Giunti|Hadji|Hammerl|Hangala|Havranková|Havranová|Heckett|Henrion|"
        "Hentschel|Ionescu|Jaanus|Jabir|Jast|Jelagat|Jensen|Jerković|Jilani|Jillo|Kaimenyi|Kasemets|Kiema|"
        "Kipleting|Kotian|Kurzmann|Lalla|Lemaire|Lemus|Lenaghan|Lippens|Lloret|Lojeková|Loureiro|Lowe|Lundon|"
        "Mac Géidigh|Mac Ruaidhrí|MacElgunn|Madlala|Mahamed|Mamani|Mannoia|Mantilla|Martinčević|Marttinen|"
        "Mascagni|Mascheroni|Mathias|Matteotti|McConaghey|McCorkill|McGettrick|Meersman|Minihan|Mistéal|Mkhabela|"
        "Mkhungo|Monfort|Mudronja|Mutinda|Ndlondlo|Nduta|Niklasson|Nálepková|O'Sheil|Ormeño|Ossola|Paap|Palastri|"
        "Paulsen|Perak|Piccinni|Puente|Rachedi|Reavy|Richie|Rieger|Riordan|Rosario|Rossetti|Ruberto|Rybníčeková|"
        "Sanjarov|Scherms|Semialjac|Slater|Soosaar|Soria|Spinelli|Steiger|Streich|Swazi|Sæther|Tirop|Tlustek|"
        "Toots|Tornatore|Urban|Valentínová|Van Acker|Vasseur|Vaška|Velasco|Vergara|Viola|Vladislavić|Wadi|Wasike|"
        "Wavinya|Wilhelm|Wiltzius|Yates|Yorulmaz|Zackariya|Zehetner|Zetterberg|Zevenboom|Ziemann|Zupanc|"
        "Ó Coisteala|Ó Curraoin|Ó Loirgneáin|Ó Mocháin|Ó Muinghíle|Ó Míodhcháin|Ó Reachtar|Ó Ríle|Šlahor|Žák"
    ),
    cities=_split(
        "Alagna Valsesia|Amato|Andenne|Arci|Avoscan|Badesse|Badia Prataglia|Badín|Bantega|Bara|Beclers|Beegden|"
        "Belfiore|Bellegra|Berzée|Borgo Annunziata|Borgo Gesso|Borgomale|Borore|Brugelette|Calosso|Capece|"
        "Carrito|Casavatore|Cavagnano|Cereta|Chieuti Scalo|Chorváty|Cinquevie|Civitaquana|Coiano|Coutisse|"
        "Covigliaio|Creil|Cuturella|Dearsum|Diano Marina|Eisenhüttenstadt|Fiumata|Forssa|Geldern|Gioiella|"
        "Guntakal|Głogów|Haacht|Halmaal|Hardenberg|Havelte|Jablunkov|Jasov|Kamenz|Kerteminde|Kloosterzande|"
        "København|Laerru|Lagosanto|Laurito|Letanovce|Licodia Eubea|Loncin|Longara|Loulé|Mabompré|Macerone|"
        "Malcesine|Matsch|Melles|Migliaro|Mitogio|Moncestino|Montelaterone|Motešice|Mošurov|Muceno|"
        "Městec Králové|Nave|Niehove|Novi Vinodolski|Nová Polianka|Nuova Cliternia|Nálepkovo|Oosthem|"
        "Oostvleteren|Orahovica|Orešany|Oripää|Orsomarso|Oudeschoot|Pacov|Pecetto Torinese|Pedaso|Percha|"
        "Peveragno|Pietravairano|Pocapaglia|Podenzoi|Pohorelá|Porrena|Priula|Ribordone|Rockanje|Roges|Roncobello|"
        "Rosasco|Roux|Rožďalovice|Saint Nicolas|Sale Marasino|Sant'Apollinare|Schilpario|Schmölln|Scifelli|"
        "Siilinjärvi|Sint-Baafs-Vijve|Slovany|Stade|Stave|Struppa|Stráňany|Subulussalam|Svratka|Tegoleto|"
        "Ter Apel|Ter Heijde|Tole'|Trespiano|Trucco|Turritecava|Twijzelerheide|Töll|Urbe|Valdengo|Valmacca|"
        "Valsecca|Varadka|Velčice|Vendrogno|Vergnasco|Vesterborg|Via Larga|Vijayanagaram|Villamaina|Villarazzo|"
        "Villassio|Villaurbana|Vleuten|Vught|Wałbrzych|Woumen|Zaccanopoli|Zuidschermer|Čakany|Červený Kameň|"
        "Šašová|Štefanov|Štětí|Žandov|Žiar|Žipov|Žitavany"
    ),
    company_words=_split(
        "Ackerl|Alksnis|Anastasi|Ayers|Bach|Bartoletti|Beka|Bishell|Bochud|Boke|Bolsius|Breheny|Brock|Brož|"
        "Comber|Coret|Costela|Cundari|Damurah|Dickie|Dildorova|Dzurjanin|Döhn|Engl|Fasasi|Fekete|Folliero|"
        "Forsell|Gajardo|Galenzone|Gallogly|Germano|Gillet|Ginneádha|Givern|Goyette|Granath|Grandjean|Gregorio|"
        "Gunnarsson|Guzmán|Habibov|Hadžić|Hahessy|Hand|Hanssen|Holvoet|Janssens|Junasová|Jurášová|Kachela|Kenlan|"
        "Kikas|Kipleting|Korec|Kubiček|Kungu|Käsper|Laighnigh|Libert|Lowery|MacKay|Madlanduna|Marošová|Matheson|"
        "Maughan|McDyer|Meeres|Melichárek|Michálek|Migros|Milmo|Mthiya|Máčik|Ndoro|Ngotsha|O'Driscoll|Olthof|"
        "Pauliček|Petrović|Petrucci|Randazzo|Riveros|Roy|Segersun|Segerszoen|Sinema|Sokolová|Steele|Stichter|"
        "Stojčević|Strömberg|Sundell|Sørensen|Talbot|Tella|Togliatti|Tonc|Tuzzolino|Tórrez|Usada|Valguarnera|"
        "Vallejo|Verbist|Vlaeminck|Vopak|Vydarený|Weldon|Weyrich|Ďutka"
    ),
    company_suffixes=_split(
        "AG|BV|Brothers|Corp|Depot|Factory|Hnos|Holding|KG|LLC|Lda|Markt|NV|Oy|PLC|S.A.|SARL|SRL|Sons|Sp. z o.o.|"
        "Studio|Systems|Vertrieb|e.K."
    ),
    items=_split(
        "Accendere|Acte|Affe|Albo|Amigos|Apparence|Article|Aspetto|Baan|Bangko|Bekymring|Brak|Brood|Busca|Cebula|"
        "Cinq|Cizina|Conoscenza|Crisis|Czekolada|Daleký|Dialekt|Dietro|Doprava|Dziadek|Désir|Děkovat|Ello|"
        "Esfuerzo|Fakulta|Fils|Forte|Garden|Genau|Genoeg|Gris|Haben|Hanap|Herself|Herz|Hicieron|Iemand|Imagine|"
        "Indsigt|Informacja|Inglese|Interakce|Kalakal|Kalye|Karagatan|Kawałek|Klinisk|Komunista|Konsensus|"
        "Kuwento|Ladder|Londýnský|Léger|Majs|Memory|Mensch|Microsoft|Midt|Miejscowość|Miguel|Militar|Mléčný|"
        "Moderne|Moeten|Možný|Nacional|Nepříliš|Nesmírně|Nombreux|Nymburk|Olej|Orzeł|Osobnost|Ozdobny|"
        "Pamamagitan|Pasa|Pasar|Penge|Perdre|Pewien|Piece|Place|Plano|Povaha|Primer|Problemer|Prochain|"
        "Propadnout|Proposer|Průběh|Přibýt|Přirozený|Quos|Rada|Rate|Reale|Region|Relevant|Restaurace|Retrouver|"
        "Rock|Rynek|Règle|Santiago|Schip|Semeno|Skákat|Sogno|Somme|Soudit|Staff|Stock|Tante|Tantôt|Toekomst|"
        "Tugon|Ubranie|Vadit|Valore|Veletrh|Verso|Vincere|Vodní|Vrouw|Vtom|Vyměnit|Vyrovnaný|Vystudovat|Výborně|"
        "Wychodzić|Wygląd|Zmienić|Zvýšit|Zásadní|Čína"
    ),
)
