"""Labels of the held-out families: no label that the embedded model is trained on is one of them."""

from __future__ import annotations

# Label as printed, and the kind of its value (pipeline.samples.open_values.KINDS).
HELD_OUT_LABELS: tuple[tuple[str, str], ...] = (
    ("Policy no.", "code"), ("Lieferdatum", "date"), ("Net weight", "weight"), ("Claim ID", "code"),
    ("Meter reading", "number"), ("Steuernummer", "code"), ("Bestellnummer", "code"), ("Ansprechpartner", "person"),
    ("Date of birth", "date"), ("Patient", "person"), ("Ward", "item"), ("Flight", "code"), ("Seat", "code"),
    ("Boarding time", "number"), ("Numéro client", "digits"), ("Montant TTC", "money"), ("Échéance", "date"),
    ("Fecha de pago", "date"), ("Importe", "money"), ("Proveedor", "company"), ("Ciudad", "city"),
    ("Cost centre", "code"), ("Approved by", "person"), ("Inspector", "person"), ("Lot", "code"),
    ("Expiry", "date"), ("Serial number", "code"), ("Model", "item"), ("Warranty until", "date"),
    ("Deposit", "money"), ("Balance due", "money"), ("VAT rate", "percent"), ("Bank", "company"),
    ("Branch", "city"), ("Room", "number"), ("Check-in", "date"), ("Nights", "number"), ("Driver", "person"),
    ("Licence plate", "code"), ("Mileage", "number"), ("Tare", "weight"), ("Port of loading", "city"),
    ("Vessel", "item"), ("Container", "code"), ("Pallets", "number"), ("Incoterm", "item"), ("Consignee", "company"),
    ("Freight", "money"), ("Gewicht brutto", "weight"), ("Rabatt", "percent"), ("Zwischensumme", "money"),
    ("Kundennummer", "digits"), ("Sachbearbeiter", "person"), ("Lieferschein-Nr.", "code"), ("Hersteller", "company"),
    ("Artikel", "item"), ("Menge", "number"), ("Telefon", "phone"), ("PLZ", "zip"), ("Ort", "city"),
    ("Supervisor", "person"), ("Case number", "code"), ("Hearing on", "date"), ("Grade", "percent"),
    ("Course", "item"), ("Tutor", "person"), ("Membership", "digits"), ("Valid from", "date"), ("Premium", "money"),
    ("Beneficiary", "person"),
)  # fmt: skip
