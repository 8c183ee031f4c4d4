"""Labels that the embedded model is trained to find: printed ones of several languages, and invented ones."""

from __future__ import annotations

import random
from functools import cache

from pipeline.nano.training.word_lists import training_words
from pipeline.samples.held_out_labels import HELD_OUT_LABELS
from pipeline.samples.open_values import pronounceable

_PRINTED = """
code: Contract no.|Vertragsnummer|Auftragsnummer|Rechnungs-Nr.|Ticket|Booking code
code: Batch|Part no.|SKU|Article number|Tax ID
code: USt-IdNr.|VAT number|IBAN|Customs code|Tracking number
code: File no.|Aktenzeichen|N° de commande|N° de facture|Référence
code: N° de pedido|Código|Pedido|Numero fattura|Codice|Job number|Permit
code: Register|Project|Voucher|Coupon|Passport no.|Gate
date: Order date|Delivery date|Issued on|Payment date|Rechnungsdatum
date: Fälligkeitsdatum|Bestelldatum|Datum|Date de livraison
date: Date de facture|Fecha|Fecha de entrega|Vencimiento|Data|Scadenza
date: Valid until|Start date|End date|Departure|Arrival
date: Check-out|Signed on|Printed|Period from|Period to|Next visit
date: Received|Geburtsdatum|Leistungsdatum|Release|Updated
money: Amount due|Grand total|Net amount|Gross amount|Betrag|Gesamtbetrag
money: Nettobetrag|MwSt.|Summe|Versandkosten|Shipping cost
money: Montant|Total HT|TVA|Prix|Importe total|Precio|IVA|Totale|Unit price
money: Fee|Paid|Refund|Rent|Salary|Charge|Tip|Budget
person: Buyer|Sold to|Attention|Prepared by|Signed by|Requested by
person: Bearbeiter|Kunde|Empfänger|Absender|Vendeur|Destinataire
person: Cliente|Contacto|Responsable|Passenger|Guest|Doctor|Employee
person: Manager|Author|Owner|Tenant|Nurse|Recipient|Agent
company: Supplier|Carrier|Lieferant|Spediteur|Firma|Fournisseur
company: Société|Empresa|Transportista|Employer|Insurer|Shipper
company: Manufacturer|Brand|Landlord|Publisher|Hotel|Clinic|School|Department|Sender|Contractor|Client
city: Place|Destination|Origin|Stadt|Lieferort|Ville|Lieu|Localidad
city: Station|Location|Site|Warehouse|Region|Country|Land
item: Product name|Description|Bezeichnung|Artikelbezeichnung|Produit|Désignation
item: Producto|Descripción|Service|Material|Colour
item: Size|Type|Status|Payment method|Zahlungsart|Currency|Subject|Category
item: Priority|Farbe|Version|Language|Zone|Reason|Title
number: Pieces|Units|Anzahl|Stückzahl|Quantité|Cantidad|Packages|Boxes
number: Hours|Days|Page count|Persons|Copies|Floor|Table no.
weight: Gross weight|Gewicht|Poids|Peso|Load|Weight per unit|Shipping weight|Nettogewicht
percent: Commission|Skonto|Remise|Descuento|Tax rate|Steuersatz|Interest rate|Share|Margin|Humidity|Score
phone: Mobile|Fax|Tel.|Téléphone|Teléfono|Hotline|Direct line|Rückruf
zip: Postcode|ZIP code|Code postal|Código postal|Postfach
digits: Customer no.|Kunden-Nr.|Konto|Kontonummer|BLZ|EAN
digits: Barcode|Member no.|N° client|Terminal|Receipt no.|Meter no.
"""
_TAILS = ("", "", "", " no.", " Nr.", " ID", " code", " date", "-Nr.", " name", " value", " ref.", " 2", " type")
_KINDS = tuple("code date money person company city item number weight percent phone digits".split())


@cache
def printed_labels() -> tuple[tuple[str, str], ...]:
    """Labels with the kind of their value, without the held-out ones."""
    held_out = {label.lower() for label, _ in HELD_OUT_LABELS}
    labels = []
    for line in _PRINTED.strip().splitlines():
        kind, _, rest = line.partition(": ")
        labels += [(label, kind) for label in rest.split("|") if label.lower() not in held_out]
    return tuple(labels)


def draw_label(rng: random.Random) -> tuple[str, str]:
    """A label and the kind of its value: half of them printed ones, half words that are no labels anywhere else."""
    if rng.random() < 0.5:
        label, kind = rng.choice(printed_labels())
        return label, kind if rng.random() < 0.8 else rng.choice(_KINDS)
    word = rng.choice(training_words().items) if rng.random() < 0.5 else pronounceable(rng, 4, 9).capitalize()
    if rng.random() < 0.2:
        word += " " + pronounceable(rng, 3, 7)
    return word + rng.choice(_TAILS), rng.choice(_KINDS)
