"""Word lists the values are drawn from: long enough that a name cannot be guessed from its label."""

FIRST_NAMES = (
    "Anna", "Boris", "Clara", "David", "Elena", "Felix", "Grace", "Hugo", "Irene", "James", "Karin", "Louis", "Maria",
    "Nadia", "Oscar", "Paula", "Quinn", "Rosa", "Simon", "Tanya", "Ulrich", "Vera", "Walter", "Xenia", "Yusuf", "Zoe",
    "Amir", "Bella", "Cyrus", "Diana", "Emil", "Freya", "Gavin", "Helga", "Ivan", "Julia", "Kofi", "Lena", "Milos",
    "Nora",
)  # fmt: skip
LAST_NAMES = (
    "Abbott", "Becker", "Castro", "Dubois", "Evans", "Fischer", "Garcia", "Hansen", "Ibrahim", "Jensen", "Keller",
    "Lopez", "Meyer", "Novak", "Olsen", "Petrov", "Quist", "Rossi", "Schmidt", "Tanaka", "Usman", "Vargas", "Weber",
    "Xiong", "Young", "Zimmer", "Almeida", "Brandt", "Costa", "Drake", "Eklund", "Farkas", "Grant", "Holm", "Irving",
    "Jovanov", "Kaplan", "Lindt", "Moreau", "Nakata",
)  # fmt: skip
CITIES = (
    "Aachen", "Bergen", "Cardiff", "Dublin", "Essen", "Florence", "Geneva", "Hamburg", "Izmir", "Jena", "Krakow",
    "Lisbon", "Madrid", "Naples", "Oslo", "Porto", "Quito", "Riga", "Seville", "Turin", "Utrecht", "Vienna", "Warsaw",
    "Xanthi", "York", "Zurich", "Antwerp", "Boston", "Chicago", "Denver", "Exeter", "Fresno", "Ghent", "Houston",
    "Ipswich", "Kyoto", "Lyon", "Malmo", "Nantes", "Odessa",
)  # fmt: skip
COMPANY_WORDS = (
    "Alder", "Birch", "Cobalt", "Delta", "Ember", "Falcon", "Granite", "Harbor", "Indigo", "Juniper", "Kestrel",
    "Lumen", "Maple", "Nimbus", "Orchid", "Pioneer", "Quartz", "Raven", "Summit", "Titan", "Umbra", "Vertex",
    "Willow", "Xylo", "Yarrow", "Zenith", "Atlas", "Beacon", "Cedar", "Dynamo", "Echo", "Fjord",
)  # fmt: skip
COMPANY_SUFFIXES = (
    "Ltd", "Inc", "GmbH", "Co", "Group", "Foods", "Supply", "Trading", "Works", "Logistics", "Tools", "Partners",
)  # fmt: skip
ITEMS = (
    "Anchor", "Bracket", "Cable", "Drill", "Elbow", "Filter", "Gasket", "Hinge", "Inverter", "Jack", "Kettle", "Lamp",
    "Motor", "Nozzle", "Oven", "Pump", "Quilt", "Rivet", "Sensor", "Toner", "Umbrella", "Valve", "Washer", "Xenon",
    "Yarn", "Zipper", "Adapter", "Battery", "Charger", "Desk", "Engine", "Fan", "Gear", "Hose", "Insert", "Keypad",
)  # fmt: skip
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
FREE_TEXT = (
    "Thank you for your business.",
    "Please keep this page for your records.",
    "Goods remain our property until paid.",
    "Questions? Call our office on weekdays.",
    "Payment by bank transfer only.",
    "All prices are in local currency.",
    "Checked and packed by our staff.",
    "Returns are accepted within 30 days.",
    "This page was made by a computer.",
    "Deliver to the rear entrance.",
)
